// Image files in, 8-bit RGB or grey pixels out, upright.
//
// JPEG (libjpeg-turbo) and PNG (libpng) are read directly; BMP, TIFF and WebP by OpenCV's imgcodecs, loaded
// at first use, after a check of their headers; every other format is refused by name. Pixels equal Pillow's
// ImageOps.exif_transpose(image).convert("RGB" or "L"): EXIF orientation applied, transparency dropped (the
// colours under it stay), palettes looked up, CMYK converted without a profile, of 16 bits the upper 8 kept
// (of 16-bit grey too, where Pillow clips). Colour profiles are ignored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "vision/image/image.h"

namespace vretnet::vision {

// A file that is no image or a damaged one. what() is "FILE: REASON".
struct ImageError : DataError {
  ImageError(const std::string& file_name, const std::string& why)
      : DataError(file_name + ": " + why), file(file_name), reason(why) {}
  std::string file;    // the `name` that was passed in
  std::string reason;  // for example: not an image: unknown signature 'hello'
};

// What a file may cost. All are checked against the header, before memory is taken.
struct DecodeLimits {
  // width · height. The default is where Pillow refuses (twice its MAX_IMAGE_PIXELS, 2³⁰ / 4 / 3): 537 MB of
  // RGB.
  std::int64_t max_pixels = 178956970;
  // Of the file itself.
  std::int64_t max_file_bytes = std::int64_t(1) << 30;
  // Working memory of the decoder beside the pixels (a progressive JPEG holds all of its coefficients).
  std::int64_t max_decoder_bytes = std::int64_t(1) << 30;
};

enum class ImageFormat { Jpeg, Png, Bmp, Tiff, WebP };
const char* format_name(ImageFormat format);  // "JPEG", …

// What a file's header says of its pixels.
struct ImageInfo {
  ImageFormat format = ImageFormat::Png;
  int width = 0;   // as stored, before the orientation is applied
  int height = 0;  //
  int channels =
      0;  // as stored: 1 grey or palette, 2 grey + alpha, 3 RGB or YCbCr, 4 with alpha, CMYK or YCCK
  int bit_depth = 8;    // bits a channel
  int orientation = 1;  // EXIF, 1 … 8: 1 is upright. A damaged or missing tag is 1
  bool palette = false;
  bool transparency = false;  // an alpha channel or a transparent colour
  bool cmyk = false;          // CMYK or YCCK
  bool sequential = true;     // rows are stored top to bottom, once: not progressive, not interlaced
};

// The size after the orientation is applied.
inline int upright_width(const ImageInfo& info) {
  return info.orientation > 4 ? info.height : info.width;
}
inline int upright_height(const ImageInfo& info) {
  return info.orientation > 4 ? info.width : info.height;
}

// What was done to the pixels beside decoding them, in words to be shown: "CMYK", "16-bit", "palette",
// "transparency dropped", "orientation 6", "grey"; and what a decoder complained of without giving up:
// "Corrupt JPEG data: 16 extraneous bytes before marker 0xe1".
struct DecodeNotes {
  std::vector<std::string> conversions;
  std::vector<std::string> warnings;
};

// Reads the header alone. `name` is what errors call the file. An orientation that a PNG stores after its
// pixels is not seen here (decode_image sees it). Throws ImageError.
ImageInfo probe_image(std::span<const std::byte> bytes, const std::string& name);

// Decodes a whole file in memory, upright, with `channels` 1 (grey) or 3 (RGB). A file that ends early, has a
// wrong checksum or claims more than `limits` allow throws ImageError. Several threads may decode at once.
Image decode_image(std::span<const std::byte> bytes, const std::string& name, const DecodeLimits& limits = {},
                   int channels = 3, DecodeNotes* notes = nullptr);

// The same of a file on disk. One that cannot be opened or is no regular file throws ImageError, too.
Image read_image(const std::filesystem::path& path, const DecodeLimits& limits = {}, int channels = 3,
                 DecodeNotes* notes = nullptr);

// The bytes of an image file, at most limits.max_file_bytes of them. Throws ImageError.
std::vector<std::byte> read_image_bytes(const std::filesystem::path& path, const DecodeLimits& limits = {});

}  // namespace vretnet::vision
