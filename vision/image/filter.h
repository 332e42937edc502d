// The weights of antialiased resizing, in double, as Pillow and PyTorch (antialias=True) compute them.
#pragma once

#include <vector>

#include "vision/image/resize.h"

namespace vretnet::vision {

// One output is the sum over t of weights[t] · input[first + t]; the weights' sum is 1.
struct FilterTaps {
  int first = 0;
  std::vector<double> weights;
};

// Inputs on either side of an output's centre that may count, for outputs that are `scale` inputs apart.
double filter_support(Interpolation interpolation, double scale);

// Output `index` of a row of outputs that are `scale` inputs apart and begin at input `begin`; `input_size`
// bounds the inputs. `taps` is overwritten, its memory kept.
void make_filter_taps(Interpolation interpolation, int input_size, double begin, double scale, int index,
                      FilterTaps& taps);

}  // namespace vretnet::vision
