#include "vision/image/orientation.h"

#include <algorithm>
#include <cstring>

#include "core/base/ensure.h"

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
  ensure(orientation >= 1 && orientation <= 8, "orientation {}", orientation);
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

Box stored_box(const Box& box, const Size& stored, int orientation) {
  ensure(orientation >= 1 && orientation <= 8, "orientation {}", orientation);
  Box result = box;
  if (orientation > 4) result = {box.top, box.left, box.bottom, box.right};
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const auto turn = [](float& begin, float& end, int extent) {
    const float first = float(extent) - end;
    end = float(extent) - begin;
    begin = first;
  };
  if (from_right) turn(result.left, result.right, stored.width);
  if (from_below) turn(result.top, result.bottom, stored.height);
  return result;
}

Box upright_box(const Box& box, const Size& stored, int orientation) {
  const Size upright = orientation > 4 ? Size{stored.height, stored.width} : stored;
  // A quarter turn is undone by the other one; everything else undoes itself.
  return stored_box(box, upright, orientation == 6 ? 8 : orientation == 8 ? 6 : orientation);
}

}  // namespace vretnet::vision
