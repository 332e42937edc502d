// Convolution over channels-last images, with the gradients of its input and its weights.
#pragma once

#include "core/backends/reference/elements.h"

namespace vretnet::reference {

// Calls visit(b, row out, column out, o, c, u, v, row in, column in) for every product of the convolution
// that does not fall on the padding.
template <class Visit>
void for_each_product(const Shape& x, const Shape& weight, const Shape& y, Index stride,
                      const ops::Padding& padding, Visit&& visit) {
  for (Index b = 0; b < y[0]; ++b) {
    for (Index i = 0; i < y[1]; ++i) {
      for (Index j = 0; j < y[2]; ++j) {
        for (Index u = 0; u < weight[2]; ++u) {
          const Index row = i * stride + u - padding.top;
          if (row < 0 || row >= x[1]) continue;
          for (Index v = 0; v < weight[3]; ++v) {
            const Index column = j * stride + v - padding.left;
            if (column < 0 || column >= x[2]) continue;
            for (Index o = 0; o < weight[0]; ++o) {
              for (Index c = 0; c < weight[1]; ++c) visit(b, i, j, o, c, u, v, row, column);
            }
          }
        }
      }
    }
  }
}

template <class T>
void run(const ops::Convolution& op) {
  const Elements<T> x(op.x), weight(op.weight), bias(op.bias), y(op.y);
  for_each_index(y.shape(), [&](const Indices& index) { y[index] = bias ? bias(index[3]) : T(0); });
  for_each_product(x.shape(), weight.shape(), y.shape(), op.stride, op.padding,
                   [&](Index b, Index i, Index j, Index o, Index c, Index u, Index v, Index row,
                       Index column) { y(b, i, j, o) += x(b, row, column, c) * weight(o, c, u, v); });
}

template <class T>
void run(const ops::ConvolutionInputGradient& op) {
  const Elements<T> weight(op.weight), d_y(op.d_y), d_x(op.d_x);
  for_each_index(d_x.shape(), [&](const Indices& index) { d_x[index] = T(0); });
  for_each_product(d_x.shape(), weight.shape(), d_y.shape(), op.stride, op.padding,
                   [&](Index b, Index i, Index j, Index o, Index c, Index u, Index v, Index row,
                       Index column) { d_x(b, row, column, c) += d_y(b, i, j, o) * weight(o, c, u, v); });
}

template <class T>
void run(const ops::ConvolutionWeightGradient& op) {
  const Elements<T> x(op.x), d_y(op.d_y), d_weight(op.d_weight), d_bias(op.d_bias);
  for_each_product(x.shape(), d_weight.shape(), d_y.shape(), op.stride, op.padding,
                   [&](Index b, Index i, Index j, Index o, Index c, Index u, Index v, Index row,
                       Index column) { d_weight(o, c, u, v) += d_y(b, i, j, o) * x(b, row, column, c); });
  if (d_bias) {
    for_each_index(d_y.shape(), [&](const Indices& index) { d_bias(index[3]) += d_y[index]; });
  }
}

}  // namespace vretnet::reference
