// PoolTokens and its gradient.
#pragma once

#include "core/backends/reference/elements.h"

namespace vretnet::reference {

template <class T>
void run(const ops::PoolTokens& op) {
  const Elements<T> x(op.x), y(op.y);
  const Index tokens = x.extent(1);
  for_each_index(y.shape(), [&](const Indices& index) {
    const auto [b, c, unused_2, unused_3, unused_4] = index;
    if (op.kind == ops::PoolKind::last) {
      y[index] = x(b, tokens - 1, c);
    } else {
      T sum = 0;
      for (Index t = 0; t < tokens; ++t) sum += x(b, t, c);
      put(y[index], sum * T(op.scale), op.write);
    }
  });
}

template <class T>
void run(const ops::PoolTokensGradient& op) {
  const Elements<T> d_y(op.d_y), d_x(op.d_x);
  for_each_index(d_x.shape(), [&](const Indices& index) {
    const auto [b, t, c, unused_3, unused_4] = index;
    const bool last = t == d_x.extent(1) - 1;
    if (op.kind == ops::PoolKind::mean) {
      d_x[index] = d_y(b, c) * T(op.scale);
    } else {
      d_x[index] = last ? d_y(b, c) : T(0);
    }
  });
}

}  // namespace vretnet::reference
