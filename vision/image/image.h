// Decoded pictures. Decoding, resizing and augmentation work on 8-bit interleaved pixels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vretnet::vision {

// Pixels in raster order, interleaved: pixels[(y·width + x)·channels + c], sRGB, 0 … 255. Owns its memory.
struct Image {
  int width = 0;
  int height = 0;
  int channels = 0;  // 1 grey, 3 red green blue
  std::vector<std::uint8_t> pixels;

  std::size_t row_bytes() const { return std::size_t(width) * channels; }
  const std::uint8_t* row(int y) const { return pixels.data() + y * row_bytes(); }
  std::uint8_t* row(int y) { return pixels.data() + y * row_bytes(); }
};

inline Image make_image(int width, int height, int channels) {
  return {width, height, channels, std::vector<std::uint8_t>(std::size_t(width) * height * channels)};
}

struct Size {
  int width = 0;
  int height = 0;
  bool operator==(const Size&) const = default;
};

// A rectangle of whole pixels: columns left … left + width − 1, rows top … top + height − 1.
struct Rectangle {
  int left = 0;
  int top = 0;
  int width = 0;
  int height = 0;
  bool operator==(const Rectangle&) const = default;
};

// Pixels that belong to somebody else; rows are `stride` bytes apart.
struct ImageView {
  const std::uint8_t* pixels = nullptr;
  int width = 0;
  int height = 0;
  int channels = 0;
  std::size_t stride = 0;

  ImageView() = default;
  ImageView(const Image& image)  // NOLINT(runtime/explicit): an Image is a view of itself
      : pixels(image.pixels.data()),
        width(image.width),
        height(image.height),
        channels(image.channels),
        stride(image.row_bytes()) {}

  const std::uint8_t* row(int y) const { return pixels + y * stride; }
  // The part inside `area`, which lies inside this view. No copy.
  ImageView part(const Rectangle& area) const {
    ImageView view = *this;
    view.pixels += area.top * stride + std::size_t(area.left) * channels;
    view.width = area.width;
    view.height = area.height;
    return view;
  }
};

}  // namespace vretnet::vision
