// Sharpness, equal to Pillow's ImageEnhance.Sharpness.
#pragma once

#include "vision/image/image.h"

namespace vretnet::vision {

// A factor of 1 changes nothing, 0 smooths (each pixel with its eight neighbours, itself five times), above 1
// sharpens. The outermost pixels stay as they are.
void adjust_sharpness(Image& image, float factor);

}  // namespace vretnet::vision
