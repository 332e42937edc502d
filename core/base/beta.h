// The Beta distribution, as mixup and cutmix draw their shares.
#pragma once

#include "core/base/random.h"

namespace vretnet {

// Beta(a, b) for a, b > 0: X / (X + Y) of Gamma(a), Gamma(b) variables, in 0 … 1. Small parameters, where X
// and Y are both too small for a double, are exact, too: X and Y are drawn by their logarithms.
double draw_beta(double a, double b, Random& random);

}  // namespace vretnet
