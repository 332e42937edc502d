// JPEG files of every kind that the tests want, made by libjpeg.
#pragma once

// jpeglib.h wants FILE and size_t to be declared.
#include <cstddef>
#include <cstdio>
// clang-format off
#include <jpeglib.h>
// clang-format on

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <ostream>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "vision/image/image.h"

namespace vretnet::vision {

struct JpegKind {
  std::string name;
  int channels = 3;  // of the file: 1 grey, 3 YCbCr, 4 CMYK
  int across = 2;    // luma samples for one of chroma, along a row
  int down = 2;      // and down a column
  bool progressive = false;
  int restart_rows = 0;  // rows of blocks between restart markers, 0: none
  int orientation = 1;   // EXIF
  int quality = 90;
};

inline void PrintTo(const JpegKind& kind, std::ostream* stream) {
  *stream << kind.name;
}

// A smooth picture with edges and a little noise, as photographs are.
inline Image photo_like(int width, int height, int channels, std::uint64_t seed) {
  Image image = make_image(width, height, channels);
  Random random(seed);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        const double waves = 60 * std::sin(0.031 * x + c) + 40 * std::cos(0.047 * y - 0.02 * x * (c + 1));
        const double edge = (x / 37 + y / 29) % 3 == c % 3 ? 35 : 0;
        const double value = 110 + waves + edge + double(random.below(9)) - 4;
        image.row(y)[x * channels + c] = std::uint8_t(value < 0 ? 0 : value > 255 ? 255 : value);
      }
    }
  }
  return image;
}

inline std::vector<std::byte> make_jpeg(const Image& image, const JpegKind& kind) {
  jpeg_compress_struct encoder{};
  jpeg_error_mgr errors;
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&encoder, &memory, &size);
  encoder.image_width = JDIMENSION(image.width);
  encoder.image_height = JDIMENSION(image.height);
  encoder.input_components = image.channels;
  encoder.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : image.channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&encoder);
  jpeg_set_quality(&encoder, kind.quality, TRUE);
  if (image.channels == 3) {
    encoder.comp_info[0].h_samp_factor = kind.across;
    encoder.comp_info[0].v_samp_factor = kind.down;
  }
  if (kind.progressive) jpeg_simple_progression(&encoder);
  encoder.restart_in_rows = kind.restart_rows;
  jpeg_start_compress(&encoder, TRUE);
  if (kind.orientation != 1) {
    unsigned char exif[] = {'E',  'x', 'i', 'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0,
                            0x12, 1,   3,   0,   1, 0, 0,   0,   0,  0, 0, 0, 0, 0, 0, 0};
    exif[24] = static_cast<unsigned char>(kind.orientation);
    jpeg_write_marker(&encoder, JPEG_APP0 + 1, exif, sizeof(exif));
  }
  for (int y = 0; y < image.height; ++y) {
    JSAMPROW row = const_cast<std::uint8_t*>(image.row(y));
    jpeg_write_scanlines(&encoder, &row, 1);
  }
  jpeg_finish_compress(&encoder);
  jpeg_destroy_compress(&encoder);
  const auto* first = reinterpret_cast<const std::byte*>(memory);
  std::vector<std::byte> bytes(first, first + size);
  std::free(memory);
  return bytes;
}

}  // namespace vretnet::vision
