// Decoded pictures. Decoding, resizing and augmentation work on 8-bit interleaved pixels.
#pragma once

#include <cstdint>
#include <vector>

namespace vretnet::vision {

// Pixels in raster order, interleaved: pixels[(y·width + x)·channels + c], sRGB, 0 … 255. Owns its memory.
struct Image {
  int width = 0;
  int height = 0;
  int channels = 0;  // 1 grey, 3 red green blue
  std::vector<std::uint8_t> pixels;

  const std::uint8_t* row(int y) const { return pixels.data() + std::size_t(y) * width * channels; }
  std::uint8_t* row(int y) { return pixels.data() + std::size_t(y) * width * channels; }
};

inline Image make_image(int width, int height, int channels) {
  return {width, height, channels, std::vector<std::uint8_t>(std::size_t(width) * height * channels)};
}

}  // namespace vretnet::vision
