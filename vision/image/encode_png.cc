#include "vision/image/encode_png.h"

#include <fmt/format.h>
#include <png.h>

#include "core/base/ensure.h"
#include "core/base/error.h"

namespace vretnet::vision {

std::vector<std::byte> encode_png(const ImageView& image) {
  ensure(image.channels == 1 || image.channels == 3, "{} channels", image.channels);
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.width = png_uint_32(image.width);
  header.height = png_uint_32(image.height);
  header.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  std::vector<std::byte> bytes(image.width > 0 && image.height > 0 ? PNG_IMAGE_PNG_SIZE_MAX(header) : 0);
  png_alloc_size_t used = bytes.size();
  const bool written =
      !bytes.empty() && png_image_write_to_memory(&header, bytes.data(), &used, 0, image.pixels,
                                                  png_int_32(image.stride), nullptr);
  if (!written) {
    throw RunError(fmt::format("a picture of {} x {} pixels cannot be written as PNG: {}", image.width,
                               image.height, header.message));
  }
  bytes.resize(used);
  return bytes;
}

}  // namespace vretnet::vision
