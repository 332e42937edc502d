// LayerNorm over rows and its gradient.
#pragma once

#include <cmath>

#include "core/backends/reference/elements.h"

namespace vretnet::reference {

template <class T>
void run(const ops::LayerNorm& op) {
  using std::sqrt;
  const Elements<T> x(op.x), gain(op.gain), bias(op.bias), y(op.y), mean(op.mean),
      inverse_deviation(op.inverse_deviation);
  const Index width = x.extent(1);
  for (Index row = 0; row < x.extent(0); ++row) {
    T sum = 0, sum_of_squares = 0;
    for (Index c = 0; c < width; ++c) sum += x(row, c);
    const T center = sum / T(width);
    for (Index c = 0; c < width; ++c) sum_of_squares += (x(row, c) - center) * (x(row, c) - center);
    const T inverse = T(1) / sqrt(sum_of_squares / T(width) + T(op.epsilon));
    for (Index c = 0; c < width; ++c) y(row, c) = (x(row, c) - center) * inverse * gain(c) + bias(c);
    if (mean) mean(row) = center;
    if (inverse_deviation) inverse_deviation(row) = inverse;
  }
}

template <class T>
void run(const ops::LayerNormGradient& op) {
  const Elements<T> x(op.x), gain(op.gain), mean(op.mean), inverse_deviation(op.inverse_deviation),
      d_y(op.d_y), residual(op.residual), d_x(op.d_x), d_gain(op.d_gain), d_bias(op.d_bias);
  const Index width = x.extent(1);
  for (Index row = 0; row < x.extent(0); ++row) {
    const T inverse = inverse_deviation(row);
    const auto normalized = [&](Index c) { return (x(row, c) - mean(row)) * inverse; };
    T sum = 0, sum_with_normalized = 0;
    for (Index c = 0; c < width; ++c) {
      sum += d_y(row, c) * gain(c);
      sum_with_normalized += d_y(row, c) * gain(c) * normalized(c);
      d_gain(c) += d_y(row, c) * normalized(c);
      d_bias(c) += d_y(row, c);
    }
    for (Index c = 0; c < width; ++c) {
      const T gradient =
          (d_y(row, c) * gain(c) - sum / T(width) - normalized(c) * (sum_with_normalized / T(width))) *
          inverse;
      d_x(row, c) = residual ? gradient + residual(row, c) : gradient;
    }
  }
}

}  // namespace vretnet::reference
