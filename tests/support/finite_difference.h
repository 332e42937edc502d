// Gradients by central differences, for anything that can be evaluated in double: ops, layers, whole models.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>

namespace vretnet::testing {

// ∂f/∂x[i] at x, from central differences with steps h and h/2, extrapolated (Richardson): error O(h⁴) from
// truncation and about 1e-16·|f|/h from rounding. `difference` is how far the extrapolation moved the finer
// estimate, a measure of its error.
struct Derivative {
  double value = 0, difference = 0;
};

inline Derivative derivative(const std::function<double()>& f, double& x, double step = 1e-3) {
  const double at = x;
  const auto central = [&](double h) {
    x = at + h;
    const double above = f();
    x = at - h;
    const double below = f();
    return (above - below) / (2 * h);
  };
  const double coarse = central(step), fine = central(step / 2);
  x = at;
  const double extrapolated = fine + (fine - coarse) / 3;
  return {extrapolated, std::abs(extrapolated - fine)};
}

// The worst disagreement of `analytic` with the differences of f over the parameters x, relative to the
// largest gradient or `floor`: what a test compares with 1e-7 or so. f must read x. Looks at every
// `stride`-th element.
inline double worst_gradient_error(const std::function<double()>& f, std::span<double> x,
                                   std::span<const double> analytic, double step = 1e-3,
                                   std::size_t stride = 1, double floor = 1e-3) {
  double worst = 0, largest = floor;
  for (std::size_t i = 0; i < x.size(); i += stride) {
    const double numeric = derivative(f, x[i], step).value;
    worst = std::max(worst, std::abs(numeric - analytic[i]));
    largest = std::max(largest, std::abs(numeric));
    if (!std::isfinite(analytic[i])) return INFINITY;
  }
  return worst / largest;
}

}  // namespace vretnet::testing
