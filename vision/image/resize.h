// Antialiased resizing, equal to Pillow's to the last bit: two passes, the filter widened by the scale when
// shrinking, weights in 22-bit fixed point, 8-bit rounding after each pass.
#pragma once

#include "vision/image/image.h"

namespace vretnet::vision {

enum class Interpolation {
  Bilinear,  // triangle, support 1
  Bicubic,   // Keys' cubic with a = −0.5, support 2
};

// The part of a picture that is to fill the result, in pixels from its top left corner, fractions allowed.
struct Box {
  float left = 0;
  float top = 0;
  float right = 0;
  float bottom = 0;
};

// The whole of `source` at another size. To crop and resize as torchvision's resized_crop does, pass
// source.part(crop): pixels outside of the crop are not looked at.
Image resize(const ImageView& source, int width, int height, Interpolation interpolation);

// `box` of `source` fills the result; as Pillow's resize(box=…), pixels just outside of the box take part in
// the filter. The box lies inside the picture and is not empty.
Image resize(const ImageView& source, const Box& box, int width, int height, Interpolation interpolation);

// Only the pixels of `window` of the result that resize(source, width, height, …) gives: resize, then crop.
Image resize_window(const ImageView& source, int width, int height, const Rectangle& window,
                    Interpolation interpolation);

}  // namespace vretnet::vision
