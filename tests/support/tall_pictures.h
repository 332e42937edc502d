// Picture files of any height, written row by row: what is read row by row is too large to be made whole.
#pragma once

#include <png.h>
// jpeglib.h wants FILE and size_t to be declared.
#include <cstddef>
#include <cstdio>
// clang-format off
#include <jpeglib.h>
// clang-format on

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

namespace vretnet::testing {

struct TallPicture {
  int width = 0, height = 0, channels = 1;                // 1 grey, 3 RGB
  std::function<std::vector<std::uint8_t>(int y)> row{};  // width · channels values
};

inline void write_jpeg(const std::filesystem::path& path, const TallPicture& picture) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  jpeg_compress_struct encoder{};
  jpeg_error_mgr errors;
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  jpeg_stdio_dest(&encoder, file);
  encoder.image_width = JDIMENSION(picture.width);
  encoder.image_height = JDIMENSION(picture.height);
  encoder.input_components = picture.channels;
  encoder.in_color_space = picture.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&encoder);
  jpeg_start_compress(&encoder, TRUE);
  for (int y = 0; y < picture.height; ++y) {
    std::vector<std::uint8_t> row = picture.row(y);
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&encoder, &pointer, 1);
  }
  jpeg_finish_compress(&encoder);
  jpeg_destroy_compress(&encoder);
  std::fclose(file);
}

inline void write_png(const std::filesystem::path& path, const TallPicture& picture) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_init_io(png, file);
  png_set_compression_level(png, 1);
  png_set_IHDR(png, info, png_uint_32(picture.width), png_uint_32(picture.height), 8,
               picture.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, 0, 0);
  png_write_info(png, info);
  for (int y = 0; y < picture.height; ++y) png_write_row(png, picture.row(y).data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  std::fclose(file);
}

}  // namespace vretnet::testing
