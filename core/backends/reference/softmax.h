// Softmax and its gradient, row by row.
#pragma once

#include <cmath>

#include "core/backends/reference/elements.h"

namespace vretnet::reference {

template <class T>
void run(const ops::Softmax& op) {
  using std::exp;
  const Elements<T> x(op.x), y(op.y);
  for (Index row = 0; row < x.extent(0); ++row) {
    T largest = x(row, 0), sum = 0;
    for (Index i = 0; i < x.extent(1); ++i) {
      if (x(row, i) > largest) largest = x(row, i);
    }
    for (Index i = 0; i < x.extent(1); ++i) {
      y(row, i) = exp(x(row, i) - largest);
      sum += y(row, i);
    }
    for (Index i = 0; i < x.extent(1); ++i) y(row, i) = y(row, i) / sum;
  }
}

template <class T>
void run(const ops::SoftmaxGradient& op) {
  const Elements<T> y(op.y), d_y(op.d_y), d_x(op.d_x);
  for (Index row = 0; row < y.extent(0); ++row) {
    T mean = 0;  // of d_y, by the weights y
    for (Index i = 0; i < y.extent(1); ++i) mean += d_y(row, i) * y(row, i);
    for (Index i = 0; i < y.extent(1); ++i) d_x(row, i) = y(row, i) * (d_y(row, i) - mean);
  }
}

}  // namespace vretnet::reference
