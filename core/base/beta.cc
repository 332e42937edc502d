#include "core/base/beta.h"

#include <cmath>

namespace vretnet {
namespace {

// log of a Gamma(shape) variable. Marsaglia and Tsang 2000 for shape + 1, and U^(1/shape) to come down.
double draw_log_gamma(double shape, Random& random) {
  const double d = shape + 1 - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = random.normal(), root = 1 + c * x;
    const double u = 1 - random.uniform();  // (0, 1]
    if (root <= 0) continue;
    const double v = root * root * root;
    if (std::log(u) < 0.5 * x * x + d - d * v + d * std::log(v)) {
      return std::log(d * v) + std::log(1 - random.uniform()) / shape;
    }
  }
}

}  // namespace

double draw_beta(double a, double b, Random& random) {
  const double log_x = draw_log_gamma(a, random), log_y = draw_log_gamma(b, random);
  return 1 / (1 + std::exp(log_y - log_x));
}

}  // namespace vretnet
