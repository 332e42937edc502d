#include "vision/image/container_headers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>

#include "vision/image/tiff_directory.h"

namespace vretnet::vision {
namespace {

std::uint32_t little_endian(std::span<const std::byte> bytes, std::size_t offset, int size) {
  std::uint32_t value = 0;
  for (int i = 0; i < size; ++i) value |= std::uint32_t(bytes[offset + i]) << (8 * i);
  return value;
}

template <class... Arguments>
[[noreturn]] void refuse(const std::string& name, fmt::format_string<Arguments...> text,
                         Arguments&&... arguments) {
  throw ImageError(name, fmt::format(text, std::forward<Arguments>(arguments)...));
}

void set_size(ImageInfo& info, std::int64_t width, std::int64_t height, const std::string& name) {
  if (width < 1 || height < 1 || width > std::numeric_limits<int>::max() ||
      height > std::numeric_limits<int>::max()) {
    refuse(name, "damaged {}: claims {} x {} pixels", format_name(info.format), width, height);
  }
  info.width = int(width);
  info.height = int(height);
}

}  // namespace

ImageInfo read_bmp_header(std::span<const std::byte> bytes, const std::string& name) {
  ImageInfo info{.format = ImageFormat::Bmp};
  const auto header_size = bytes.size() < 26 ? 0 : little_endian(bytes, 14, 4);
  if (header_size < 12 || 14 + std::uint64_t(header_size) > bytes.size()) {
    refuse(name, "damaged BMP: no header");
  }
  const std::uint64_t pixels = little_endian(bytes, 10, 4);
  std::int64_t width, height;
  std::uint32_t bits, compression = 0, colours = 0;
  if (header_size < 40) {  // OS/2
    width = little_endian(bytes, 18, 2);
    height = little_endian(bytes, 20, 2);
    bits = little_endian(bytes, 24, 2);
  } else {
    width = std::int32_t(little_endian(bytes, 18, 4));
    height = std::abs(std::int64_t(std::int32_t(little_endian(bytes, 22, 4))));  // negative: top row first
    bits = little_endian(bytes, 28, 2);
    compression = little_endian(bytes, 30, 4);
    colours = little_endian(bytes, 46, 4);
  }
  set_size(info, width, height, name);
  if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32) {
    refuse(name, "damaged BMP: {} bits a pixel", bits);
  }
  info.palette = bits <= 8;
  info.channels = info.palette ? 1 : bits == 32 ? 4 : 3;
  info.transparency = bits == 32;
  // OpenCV 4.6 does not see the colour masks of Photoshop's short headers.
  if (compression == 3 && header_size > 40 && header_size < 56) {
    refuse(name, "BMP with a header of {} bytes and colour masks is not supported", header_size);
  }
  if (compression > 3) refuse(name, "BMP of compression {} is not supported", compression);
  if (info.palette && colours > 256) refuse(name, "damaged BMP: a palette of {} colours", colours);
  if (pixels >= bytes.size()) refuse(name, "damaged BMP: its pixels begin behind the end of the file");
  const bool run_length = compression == 1 || compression == 2;
  const std::int64_t row_bytes = (width * bits + 31) / 32 * 4;
  if (!run_length && row_bytes > std::int64_t(bytes.size() - pixels) / height) {
    refuse(name, "damaged BMP: the file ends early: {} x {} pixels claimed", width, height);
  }
  return info;
}

ImageInfo read_tiff_header(std::span<const std::byte> bytes, const std::string& name) {
  constexpr std::uint16_t kWidth = 256, kHeight = 257, kBits = 258, kPhotometric = 262, kSamples = 277,
                          kTileWidth = 322, kTileHeight = 323, kSampleFormat = 339;
  ImageInfo info{.format = ImageFormat::Tiff};
  const auto directory = parse_tiff_directory(bytes);
  if (!directory) refuse(name, "damaged TIFF: no directory");
  const auto value = [&](std::uint16_t tag, std::uint32_t otherwise) {
    return directory->value(tag).value_or(otherwise);
  };
  set_size(info, value(kWidth, 0), value(kHeight, 0), name);
  info.channels = int(value(kSamples, 1));
  info.bit_depth = int(value(kBits, 1));
  info.palette = value(kPhotometric, 0) == 3;
  info.cmyk = value(kPhotometric, 0) == 5;
  info.transparency = !info.cmyk && (info.channels == 2 || info.channels == 4);
  const auto orientation = value(kOrientationTag, 1);
  info.orientation = orientation >= 1 && orientation <= 8 ? int(orientation) : 1;
  if (info.channels < 1 || info.channels > 4)
    refuse(name, "TIFF of {} samples a pixel, not 1 to 4", info.channels);
  constexpr int kDepths[] = {1, 8, 10, 12, 14, 16};
  if (std::find(std::begin(kDepths), std::end(kDepths), info.bit_depth) == std::end(kDepths) ||
      value(kSampleFormat, 1) == 3) {
    refuse(name, "TIFF of {} bits a sample is not supported", info.bit_depth);
  }
  // A tile is decoded as a whole, however small the picture is.
  const std::uint64_t tile = std::uint64_t(value(kTileWidth, 1)) * value(kTileHeight, 1);
  if (tile > std::uint64_t(DecodeLimits{}.max_pixels)) refuse(name, "damaged TIFF: tiles of {} pixels", tile);
  return info;
}

ImageInfo read_webp_header(std::span<const std::byte> bytes, const std::string& name) {
  ImageInfo info{.format = ImageFormat::WebP, .channels = 3};
  if (bytes.size() < 30) refuse(name, "damaged WebP: the file ends early");
  if (std::uint64_t(little_endian(bytes, 4, 4)) + 8 > bytes.size()) {
    refuse(name, "damaged WebP: the file ends early: {} of {} bytes", bytes.size(),
           std::uint64_t(little_endian(bytes, 4, 4)) + 8);
  }
  const auto is_chunk = [&](std::size_t offset, const char* kind) {
    return std::memcmp(bytes.data() + offset, kind, 4) == 0;
  };
  if (is_chunk(12, "VP8 ")) {
    set_size(info, little_endian(bytes, 26, 2) & 0x3FFF, little_endian(bytes, 28, 2) & 0x3FFF, name);
  } else if (is_chunk(12, "VP8L")) {
    const std::uint32_t packed = little_endian(bytes, 21, 4);
    set_size(info, (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1, name);
    info.transparency = packed >> 28 & 1;
  } else if (is_chunk(12, "VP8X")) {
    const std::uint32_t flags = little_endian(bytes, 20, 1);
    set_size(info, std::int64_t(little_endian(bytes, 24, 3)) + 1,
             std::int64_t(little_endian(bytes, 27, 3)) + 1, name);
    info.transparency = flags & 0x10;
    if (flags & 0x02) refuse(name, "animated WebP is not supported: save one frame of it");
    for (std::uint64_t chunk = 12; chunk + 8 <= bytes.size();) {
      const std::uint64_t size = little_endian(bytes, chunk + 4, 4);
      if (is_chunk(chunk, "EXIF") && chunk + 8 + size <= bytes.size()) {
        info.orientation = exif_orientation(bytes.subspan(chunk + 8, size));
      }
      chunk += 8 + size + size % 2;
    }
  } else {
    refuse(name, "damaged WebP: no VP8 chunk");
  }
  if (info.transparency) info.channels = 4;
  return info;
}

}  // namespace vretnet::vision
