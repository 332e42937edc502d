// Turning, shearing and shifting pictures, equal to Pillow's Image.transform(AFFINE) and Image.rotate to the
// last bit. (OpenCV's warpAffine rounds positions to 1/32 of a pixel and is several grey levels off.)
#pragma once

#include <span>

#include "vision/image/image.h"
#include "vision/image/resize.h"

namespace vretnet::vision {

// Where the result takes its pixels from, in pixels from the top left corner:
// source x = xx · x + xy · y + x0, source y = yx · x + yy · y + y0.
struct AffineMap {
  double xx = 1, xy = 0, x0 = 0;
  double yx = 0, yy = 1, y0 = 0;
};

// Counter-clockwise around the centre, the corners cut off.
AffineMap rotation(const Size& size, double degrees);

// The picture of the same size under the map, interpolated between 2 × 2 or 4 × 4 pixels without
// antialiasing. What comes from outside of the source becomes `fill`, one value a channel.
Image affine_transform(const ImageView& source, const AffineMap& map, Interpolation interpolation,
                       std::span<const std::uint8_t> fill);

}  // namespace vretnet::vision
