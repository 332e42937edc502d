#include "vision/image/decode.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

#include "core/base/ensure.h"
#include "vision/image/container_headers.h"
#include "vision/image/opencv_codec.h"
#include "vision/image/orientation.h"
#include "vision/image/row_source.h"
#include "vision/image/signature.h"
#include "vision/image/transforms.h"

namespace vretnet::vision {
namespace {

// A decoder for the formats that give rows; nothing for the others.
std::unique_ptr<RowSource> open_rows(ImageFormat format, std::span<const std::byte> bytes,
                                     const std::string& name) {
  if (format == ImageFormat::Jpeg) return open_jpeg({bytes}, name);
  if (format == ImageFormat::Png) return open_png({bytes}, name);
  return nullptr;
}

ImageInfo read_container_header(ImageFormat format, std::span<const std::byte> bytes,
                                const std::string& name) {
  if (format == ImageFormat::Bmp) return read_bmp_header(bytes, name);
  if (format == ImageFormat::Tiff) return read_tiff_header(bytes, name);
  ensure(format == ImageFormat::WebP, "format {}", int(format));
  return read_webp_header(bytes, name);
}

void note_conversions(const ImageInfo& info, int channels, DecodeNotes& notes) {
  auto& said = notes.conversions;
  if (info.cmyk) said.emplace_back("CMYK");
  if (info.palette) said.emplace_back("palette");
  if (info.bit_depth > 8) said.push_back(fmt::format("{}-bit", info.bit_depth));
  if (info.transparency) said.emplace_back("transparency dropped");
  if (info.channels < 3 && !info.palette && channels == 3) said.emplace_back("grey");
  if (info.orientation != 1) said.push_back(fmt::format("orientation {}", info.orientation));
}

}  // namespace

void check_pixels(const ImageInfo& info, const std::string& name, const DecodeLimits& limits) {
  const std::int64_t pixels = std::int64_t(info.width) * info.height;
  if (pixels <= limits.max_pixels) return;
  throw ImageError(name, fmt::format("{} x {} pixels are more than the limit of {}", info.width, info.height,
                                     limits.max_pixels));
}

const char* format_name(ImageFormat format) {
  switch (format) {
    case ImageFormat::Jpeg:
      return "JPEG";
    case ImageFormat::Png:
      return "PNG";
    case ImageFormat::Bmp:
      return "BMP";
    case ImageFormat::Tiff:
      return "TIFF";
    case ImageFormat::WebP:
      return "WebP";
  }
  return "unknown";
}

ImageInfo probe_image(std::span<const std::byte> bytes, const std::string& name) {
  const ImageFormat format = recognize(bytes, name);
  if (const auto rows = open_rows(format, bytes, name)) return rows->info();
  return read_container_header(format, bytes, name);
}

Image decode_image(std::span<const std::byte> bytes, const std::string& name, const DecodeLimits& limits,
                   int channels, DecodeNotes* notes) {
  ensure(channels == 1 || channels == 3, "{} channels", channels);
  const ImageFormat format = recognize(bytes, name);
  const auto rows = open_rows(format, bytes, name);
  ImageInfo info = rows ? rows->info() : read_container_header(format, bytes, name);
  check_pixels(info, name, limits);
  Image image;
  int orientation = 1;
  if (rows) {
    rows->start(limits);
    image = make_image(info.width, info.height, rows->channels());
    rows->read_rows(info.height, image.pixels.data());
    rows->finish(notes);
    info = rows->info();
    orientation = info.orientation;
  } else {
    ImageInfo left = info;
    image = decode_with_opencv(bytes, name, left);
    orientation = left.orientation;
  }
  if (notes) note_conversions(info, channels, *notes);
  return apply_orientation(to_channels(std::move(image), channels), orientation);
}

std::vector<std::byte> read_image_bytes(const std::filesystem::path& path, const DecodeLimits& limits) {
  const std::string name = path.string();
  const auto refuse = [&](int error) {
    throw ImageError(name, fmt::format("cannot be read: {}", std::strerror(error)));
  };
  // stat first: opening a pipe would wait for its writer.
  struct stat status;
  if (stat(path.c_str(), &status) != 0) refuse(errno);
  if (S_ISDIR(status.st_mode)) throw ImageError(name, "is a folder, not an image");
  if (!S_ISREG(status.st_mode)) throw ImageError(name, "is not a regular file");
  if (status.st_size > limits.max_file_bytes) {
    throw ImageError(
        name, fmt::format("{} bytes are more than the limit of {}", status.st_size, limits.max_file_bytes));
  }
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  if (!file) refuse(errno);
  std::vector<std::byte> bytes(std::size_t(status.st_size));
  bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file.get()));
  if (std::ferror(file.get())) refuse(errno);
  return bytes;
}

Image read_image(const std::filesystem::path& path, const DecodeLimits& limits, int channels,
                 DecodeNotes* notes) {
  return decode_image(read_image_bytes(path, limits), path.string(), limits, channels, notes);
}

}  // namespace vretnet::vision
