#include "vision/image/orientation.h"

#include <algorithm>
#include <cstring>

#include "core/base/check.h"

namespace vretnet::vision {
namespace {

// Walks `image` from pixel `start` (in pixels) in steps of `step_x` along a row of the result and `step_y`
// from row to row.
template <int channels>
void gather(const Image& image, std::ptrdiff_t start, std::ptrdiff_t step_x, std::ptrdiff_t step_y,
            Image& out) {
  for (int y = 0; y < out.height; ++y) {
    const std::uint8_t* from = image.pixels.data() + (start + y * step_y) * channels;
    std::uint8_t* to = out.row(y);
    for (int x = 0; x < out.width; ++x, to += channels) {
      std::memcpy(to, from + x * step_x * channels, channels);
    }
  }
}

}  // namespace

Image apply_orientation(Image image, int orientation) {
  check(orientation >= 1 && orientation <= 8, "orientation {}", orientation);
  if (orientation == 1) return image;
  const std::ptrdiff_t width = image.width, right = width - 1, last_row = (image.height - 1) * width;
  // Where the result's first pixel is in the picture, and which way its rows and columns run there.
  std::ptrdiff_t start = 0, step_x = 1, step_y = width;
  switch (orientation) {
    case 2:
      start = right, step_x = -1;
      break;  // mirrored
    case 3:
      start = last_row + right, step_x = -1, step_y = -width;
      break;  // turned by 180°
    case 4:
      start = last_row, step_y = -width;
      break;  // upside down
    case 5:
      step_x = width, step_y = 1;
      break;  // transposed
    case 6:
      start = last_row, step_x = -width, step_y = 1;
      break;  // turn clockwise
    case 7:
      start = last_row + right, step_x = -width, step_y = -1;
      break;  // transposed across
    default:
      start = right, step_x = width, step_y = -1;
      break;  // 8: turn anticlockwise
  }
  Image out = orientation > 4 ? make_image(image.height, image.width, image.channels)
                              : make_image(image.width, image.height, image.channels);
  (image.channels == 1 ? gather<1> : gather<3>)(image, start, step_x, step_y, out);
  return out;
}

}  // namespace vretnet::vision
