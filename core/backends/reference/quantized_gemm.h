// QuantizedGemm: exact sums of integers, and what the rounding to integers may have done to them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/backends/reference/activation.h"
#include "core/backends/reference/elements.h"
#include "core/backends/reference/tracked.h"

namespace vretnet::reference {

constexpr double kLargestInteger = 127;

// q(x) of x · (1 / scale). `uncertain`: arithmetic in f32 may have found a neighbour instead, because the
// quotient lies so near the middle between two integers that its own roundings reach it.
struct QuantizedValue {
  Index value;
  bool uncertain;
};
template <class T>
QuantizedValue quantize(const T& quotient) {
  const T cut = std::clamp(quotient, T(-kLargestInteger), T(kLargestInteger));
  return {static_cast<Index>(std::nearbyint(cut)), false};
}
inline QuantizedValue quantize(const Tracked& quotient) {
  const double cut = std::clamp(quotient.value, -kLargestInteger, kLargestInteger);
  const double from_middle = std::abs(std::abs(quotient.value - std::floor(quotient.value)) - 0.5);
  // Twice the error: room for its second order.
  const bool reached = from_middle <= 2 * kUnitRoundoff * quotient.error;
  return {static_cast<Index>(std::nearbyint(cut)), reached && std::abs(quotient.value) < kLargestInteger};
}

// The sum as a number of type T. `doubtful` is Σ|b| over the elements of a whose integer is uncertain: by so
// much may the sum of integers be off.
template <class T>
T quantized_sum(Index sum, Index /*doubtful*/) {
  return T(sum);
}
template <>
inline Tracked quantized_sum<Tracked>(Index sum, Index doubtful) {
  Tracked exact(sum);  // rounded where f32 cannot hold it
  exact.error += static_cast<double>(doubtful) / kUnitRoundoff;
  return exact;
}

template <class T>
void run(const ops::QuantizedGemm& op) {
  const Elements<T> a(op.a), y(op.y), a_scale(op.a_scale), b_scale(op.b_scale), bias(op.bias),
      residual(op.residual);
  const Elements<std::int8_t> b(op.b);
  if (y.size() == 0) return;
  const T inverse = T(1) / a_scale(0);
  for_each_index(y.shape(), [&](const Indices& index) {
    Index sum = 0, doubtful = 0;
    for (Index k = 0; k < a.extent(1); ++k) {
      const QuantizedValue q = quantize(a(index[0], k) * inverse);
      const Index weight = b(k, index[1]);
      sum += q.value * weight;
      if (q.uncertain) doubtful += std::abs(weight);
    }
    T z = quantized_sum<T>(sum, doubtful) * (a_scale(0) * b_scale(index[1]));
    if (bias) z += bias(index[1]);
    z = activation(op.activation, z);
    if (residual) z += residual[index];
    y[index] = z;
  });
}

}  // namespace vretnet::reference
