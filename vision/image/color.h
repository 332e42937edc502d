// Changes of colour on 8-bit pixels, equal to Pillow's ImageEnhance and torchvision's adjust_hue on PIL
// images.
#pragma once

#include "vision/image/image.h"

namespace vretnet::vision {

// A factor of 1 changes nothing, 0 gives black, a grey picture of the mean luma, and a grey picture.
void adjust_brightness(Image& image, float factor);
void adjust_contrast(Image& image, float factor);
void adjust_saturation(Image& image, float factor);  // grey pictures stay as they are

// Hue moved by `turns` of the colour circle, −0.5 … 0.5; grey pictures stay as they are.
void adjust_hue(Image& image, double turns);

}  // namespace vretnet::vision
