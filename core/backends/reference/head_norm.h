// HeadNorm: each token's head normalized over its d_v values, without weights, and its gradient.
#pragma once

#include <cmath>

#include "core/backends/reference/elements.h"

namespace vretnet::reference {

// What one row of width values is normalized with; `center` is 0 for rms.
template <class T>
struct Statistics {
  T center, inverse_deviation;
};

template <class T>
Statistics<T> statistics_of(const Elements<T>& x, Index b, Index t, Index h, ops::HeadNormKind kind,
                            float epsilon) {
  using std::sqrt;
  const Index width = x.extent(3);
  T center = 0, sum_of_squares = 0;
  if (kind == ops::HeadNormKind::layer) {
    for (Index c = 0; c < width; ++c) center += x(b, t, h, c);
    center = center / T(width);
  }
  for (Index c = 0; c < width; ++c) sum_of_squares += (x(b, t, h, c) - center) * (x(b, t, h, c) - center);
  return {center, T(1) / sqrt(sum_of_squares / T(width) + T(epsilon))};
}

template <class T, class Visit>
void for_each_head(const Elements<T>& x, Visit&& visit) {
  for (Index b = 0; b < x.extent(0); ++b) {
    for (Index t = 0; t < x.extent(1); ++t) {
      for (Index h = 0; h < x.extent(2); ++h) visit(b, t, h);
    }
  }
}

template <class T>
void run(const ops::HeadNorm& op) {
  const Elements<T> x(op.x), y(op.y);
  for_each_head(x, [&](Index b, Index t, Index h) {
    const Statistics<T> row = statistics_of(x, b, t, h, op.kind, op.epsilon);
    for (Index c = 0; c < x.extent(3); ++c)
      y(b, t, h, c) = (x(b, t, h, c) - row.center) * row.inverse_deviation;
  });
}

template <class T>
void run(const ops::HeadNormGradient& op) {
  const Elements<T> x(op.x), d_y(op.d_y), d_x(op.d_x);
  const Index width = x.extent(3);
  for_each_head(x, [&](Index b, Index t, Index h) {
    const Statistics<T> row = statistics_of(x, b, t, h, op.kind, op.epsilon);
    const auto normalized = [&](Index c) { return (x(b, t, h, c) - row.center) * row.inverse_deviation; };
    T sum = 0, sum_with_normalized = 0;
    for (Index c = 0; c < width; ++c) {
      if (op.kind == ops::HeadNormKind::layer) sum += d_y(b, t, h, c);
      sum_with_normalized += d_y(b, t, h, c) * normalized(c);
    }
    for (Index c = 0; c < width; ++c) {
      d_x(b, t, h, c) =
          (d_y(b, t, h, c) - sum / T(width) - normalized(c) * (sum_with_normalized / T(width))) *
          row.inverse_deviation;
    }
  });
}

}  // namespace vretnet::reference
