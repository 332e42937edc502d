#include "vision/image/filter.h"

#include <algorithm>
#include <cmath>

namespace vretnet::vision {
namespace {

double triangle(double x) {
  return std::max(0.0, 1.0 - std::abs(x));
}

double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// Shrinking widens the filter.
double widening(double scale) {
  return std::max(scale, 1.0);
}

}  // namespace

double filter_support(Interpolation interpolation, double scale) {
  return (interpolation == Interpolation::Bicubic ? 2 : 1) * widening(scale);
}

void make_filter_taps(Interpolation interpolation, int input_size, double begin, double scale, int index,
                      FilterTaps& taps) {
  const auto filter = interpolation == Interpolation::Bicubic ? cubic : triangle;
  const double support = filter_support(interpolation, scale), step = 1 / widening(scale);
  const double center = begin + (index + 0.5) * scale;
  taps.first = std::max(0, int(center - support + 0.5));
  taps.weights.resize(std::min(input_size, int(center + support + 0.5)) - taps.first);
  double sum = 0;
  for (std::size_t t = 0; t < taps.weights.size(); ++t) {
    taps.weights[t] = filter((taps.first + double(t) - center + 0.5) * step);
    sum += taps.weights[t];
  }
  if (sum == 0) return;
  for (double& weight : taps.weights) weight /= sum;
}

}  // namespace vretnet::vision
