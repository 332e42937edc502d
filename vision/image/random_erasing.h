// Random erasing (Zhong et al. 2017, arXiv 1708.04896) as timm does it: a rectangle of a normalised picture
// is overwritten.
#pragma once

#include "core/base/random.h"

namespace vretnet::vision {

enum class EraseMode {
  Constant,  // 0, the mean colour
  Colour,    // one normally distributed number a channel (timm: rand)
  Pixel,     // one a value
};

struct RandomErasing {
  double probability = 0;  // that a picture loses a rectangle
  EraseMode mode = EraseMode::Pixel;
  double area_low = 0.02, area_high = 1.0 / 3;  // of the picture's area
  double ratio_low = 0.3;  // height / width in ratio_low … 1 / ratio_low, by its logarithm
};

// `values` [height, width, channels]. Ten tries to draw a rectangle that is smaller than the picture.
void erase(const RandomErasing& erasing, int height, int width, int channels, Random& random, float* values);

}  // namespace vretnet::vision
