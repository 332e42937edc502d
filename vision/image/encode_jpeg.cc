#include "vision/image/encode_jpeg.h"

#include <cstdio>
#include <cstdlib>
// clang-format off
#include <jpeglib.h>
// clang-format on

#include "core/base/ensure.h"

namespace vretnet::vision {
namespace {

// What was checked beforehand leaves libjpeg nothing to complain of but memory.
void stop(j_common_ptr common) {
  char message[JMSG_LENGTH_MAX];
  common->err->format_message(common, message);
  ensure(false, "libjpeg: {}", message);
  std::abort();
}

}  // namespace

std::vector<std::byte> encode_jpeg(const ImageView& image, int quality) {
  ensure(image.width > 0 && image.height > 0 && image.width <= JPEG_MAX_DIMENSION &&
             image.height <= JPEG_MAX_DIMENSION,
         "a JPEG of {} x {}", image.width, image.height);
  ensure(quality >= 1 && quality <= 100, "JPEG quality {}", quality);
  jpeg_compress_struct encoder{};
  jpeg_error_mgr errors{};
  encoder.err = jpeg_std_error(&errors);
  errors.error_exit = stop;
  jpeg_create_compress(&encoder);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;  // NOLINT(runtime/int): libjpeg's type
  jpeg_mem_dest(&encoder, &bytes, &size);
  encoder.image_width = static_cast<JDIMENSION>(image.width);
  encoder.image_height = static_cast<JDIMENSION>(image.height);
  encoder.input_components = image.channels;
  encoder.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&encoder);
  jpeg_set_quality(&encoder, quality, TRUE);
  jpeg_start_compress(&encoder, TRUE);
  while (encoder.next_scanline < encoder.image_height) {
    auto* row = const_cast<JSAMPLE*>(image.row(static_cast<int>(encoder.next_scanline)));
    jpeg_write_scanlines(&encoder, &row, 1);
  }
  jpeg_finish_compress(&encoder);
  const auto* begin = reinterpret_cast<const std::byte*>(bytes);
  std::vector<std::byte> file(begin, begin + size);
  jpeg_destroy_compress(&encoder);
  std::free(bytes);
  return file;
}

}  // namespace vretnet::vision
