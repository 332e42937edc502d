// Depthwise convolution, stride 1, with the gradients of its input and its weights.
#pragma once

#include "core/backends/reference/elements.h"

namespace vretnet::reference {

// Calls visit(u, v, row, column) for the kernel elements under which `size` (height, width in axes 1, 2) has
// a pixel: row = i + u − top, column = j + v − left.
template <class Visit>
void for_each_tap(const Shape& weight, const Shape& size, Index i, Index j, const ops::Padding& padding,
                  Visit&& visit) {
  for (Index u = 0; u < weight[2]; ++u) {
    const Index row = i + u - padding.top;
    if (row < 0 || row >= size[1]) continue;
    for (Index v = 0; v < weight[3]; ++v) {
      const Index column = j + v - padding.left;
      if (column >= 0 && column < size[2]) visit(u, v, row, column);
    }
  }
}

template <class T>
void run(const ops::Depthwise& op) {
  const Elements<T> x(op.x), weight(op.weight), bias(op.bias), residual(op.residual), y(op.y);
  for_each_index(y.shape(), [&](const Indices& index) {
    const auto [b, i, j, c, unused] = index;
    T sum = bias ? bias(c) : T(0);
    for_each_tap(weight.shape(), x.shape(), i, j, op.padding,
                 [&, b = b, c = c](Index u, Index v, Index row, Index column) {
                   sum += x(b, row, column, c) * weight(c, 0, u, v);
                 });
    if (residual) sum += residual[index];
    put(y[index], sum, op.write);
  });
}

template <class T>
void run(const ops::DepthwiseInputGradient& op) {
  const Elements<T> weight(op.weight), d_y(op.d_y), residual(op.residual), d_x(op.d_x);
  for_each_index(d_x.shape(), [&](const Indices& index) {
    const auto [b, row, column, c, unused] = index;
    T sum = residual ? residual[index] : T(0);
    for (Index u = 0; u < weight.extent(2); ++u) {
      const Index i = row - u + op.padding.top;
      if (i < 0 || i >= d_y.extent(1)) continue;
      for (Index v = 0; v < weight.extent(3); ++v) {
        const Index j = column - v + op.padding.left;
        if (j >= 0 && j < d_y.extent(2)) sum += d_y(b, i, j, c) * weight(c, 0, u, v);
      }
    }
    put(d_x[index], sum, op.write);
  });
}

template <class T>
void run(const ops::DepthwiseWeightGradient& op) {
  const Elements<T> x(op.x), d_y(op.d_y), d_weight(op.d_weight), d_bias(op.d_bias);
  for_each_index(d_y.shape(), [&](const Indices& index) {
    const auto [b, i, j, c, unused] = index;
    const T gradient = d_y[index];
    for_each_tap(d_weight.shape(), x.shape(), i, j, op.padding,
                 [&, b = b, c = c](Index u, Index v, Index row, Index column) {
                   d_weight(c, 0, u, v) += gradient * x(b, row, column, c);
                 });
    if (d_bias) d_bias(c) += gradient;
  });
}

}  // namespace vretnet::reference
