// Gemm and ColumnSum.
#pragma once

#include "core/backends/reference/activation.h"
#include "core/backends/reference/elements.h"

namespace vretnet::reference {

// A view of any rank seen with two batch axes in front of its rows and columns.
inline View with_batch_axes(View view) {
  while (view && view.rank() < 4) view = view.broadcast(0, 1);
  return view;
}

// What a rounding to bf16, which a backend may put there, leaves of a number: the number, but tracked.
template <class T>
T rounded_to_bf16(const T& number) {
  return number;
}
inline Tracked rounded_to_bf16(const Tracked& number) {
  return Tracked::rounded(number.value, number.error, kRoundingsOfBf16);
}

template <class T>
void run(const ops::Gemm& op) {
  const Elements<T> a(with_batch_axes(op.a)), b(with_batch_axes(op.b)), y(with_batch_axes(op.y)),
      bias(op.bias), residual(with_batch_axes(op.residual)),
      pre_activation(with_batch_axes(op.pre_activation));
  const Index depth = a.extent(3);
  const bool accumulates = op.write == ops::Write::accumulate;
  for_each_index(y.shape(), [&](const Indices& index) {
    const auto [i, j, row, column, unused] = index;
    T sum = 0;
    for (Index k = 0; k < depth; ++k) sum += a(i, j, row, k) * b(i, j, k, column);
    sum *= T(op.alpha);
    if (bias) sum += bias(column);
    const bool may_round = op.activation != ops::ActivationKind::none || (op.residual && accumulates);
    if (may_round && op.y.dtype() == DType::bf16) sum = rounded_to_bf16(sum);
    if (pre_activation) pre_activation[index] = sum;
    sum = activation(op.activation, sum);
    if (residual) sum += residual[index];
    put(y[index], sum, op.write);
  });
}

template <class T>
void run(const ops::ColumnSum& op) {
  const Elements<T> x(op.x), y(op.y);
  for (Index column = 0; column < x.extent(1); ++column) {
    T sum = 0;
    for (Index row = 0; row < x.extent(0); ++row) sum += x(row, column);
    y(column) += sum;
  }
}

}  // namespace vretnet::reference
