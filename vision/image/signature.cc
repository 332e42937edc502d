#include "vision/image/signature.h"

#include <fmt/format.h>

#include <string_view>

namespace vretnet::vision {
namespace {

using namespace std::string_view_literals;

// The first bytes, as far as they are worth showing: up to eight, to the end of the line.
std::string printable(std::string_view bytes) {
  std::string text;
  for (const unsigned char byte : bytes.substr(0, 8)) {
    if (byte == '\n' || byte == '\r') break;
    if (byte >= 32 && byte < 127) {
      text += char(byte);
    } else {
      text += fmt::format("\\x{:02x}", byte);
    }
  }
  return text;
}

struct Refused {
  std::size_t offset;
  std::string_view signature;
  const char* name;
};
constexpr Refused kRefused[] = {
    {0, "GIF8"sv, "GIF"},
    {0, "II+\0"sv, "BigTIFF"},
    {0, "MM\0+"sv, "BigTIFF"},
    {4, "ftypavif"sv, "AVIF"},
    {4, "ftypavis"sv, "AVIF"},
    {4, "ftypheic"sv, "HEIC"},
    {4, "ftypheix"sv, "HEIC"},
    {4, "ftypmif1"sv, "HEIF"},
    {0, "\0\0\0\x0cjP  "sv, "JPEG 2000"},
    {0, "\xff\x4f\xff\x51"sv, "JPEG 2000"},
    {0, "\xff\x0a"sv, "JPEG XL"},
    {0, "\0\0\0\x0cJXL "sv, "JPEG XL"},
    {0, "8BPS"sv, "Photoshop PSD"},
    {0, "\0\0\1\0"sv, "ICO"},
    {0, "%PDF"sv, "PDF"},
    {0, "v/1\x01"sv, "OpenEXR"},
    {0, "#?RADIANCE"sv, "Radiance HDR"},
    {0, "<svg"sv, "SVG"},
    {0, "\x8aMNG"sv, "MNG"},
};

}  // namespace

ImageFormat recognize(std::span<const std::byte> bytes, const std::string& name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.empty()) throw ImageError(name, "not an image: the file is empty");
  if (text.starts_with("\xff\xd8\xff"sv)) return ImageFormat::Jpeg;
  if (text.starts_with("\x89PNG\r\n\x1a\n"sv)) return ImageFormat::Png;
  if (text.starts_with("BM"sv)) return ImageFormat::Bmp;
  if (text.starts_with("II*\0"sv) || text.starts_with("MM\0*"sv)) return ImageFormat::Tiff;
  if (text.starts_with("RIFF"sv) && text.substr(8).starts_with("WEBP"sv)) return ImageFormat::WebP;
  for (const Refused& refused : kRefused) {
    if (text.size() < refused.offset || !text.substr(refused.offset).starts_with(refused.signature)) continue;
    throw ImageError(
        name, fmt::format("{} is not supported: convert it to PNG, JPEG, WebP, TIFF or BMP", refused.name));
  }
  throw ImageError(name, fmt::format("not an image: unknown signature '{}'", printable(text)));
}

}  // namespace vretnet::vision
