// Rotate: pairs of elements turned by the angle of their token and scaled. Its gradient is itself, inverse.
#pragma once

#include "core/backends/reference/elements.h"

namespace vretnet::reference {

template <class T>
void run(const ops::Rotate& op) {
  const Elements<T> x(op.x), cosine(op.cosine), sine(op.sine), y(op.y);
  const T sign = op.inverse ? T(-1) : T(1), scale(op.scale);
  for (Index b = 0; b < x.extent(0); ++b) {
    for (Index t = 0; t < x.extent(1); ++t) {
      for (Index h = 0; h < x.extent(2); ++h) {
        for (Index j = 0; j < x.extent(3) / 2; ++j) {
          const T even = x(b, t, h, 2 * j), odd = x(b, t, h, 2 * j + 1);
          y(b, t, h, 2 * j) = (even * cosine(t, j) - odd * (sign * sine(t, j))) * scale;
          y(b, t, h, 2 * j + 1) = (even * (sign * sine(t, j)) + odd * cosine(t, j)) * scale;
        }
      }
    }
  }
}

}  // namespace vretnet::reference
