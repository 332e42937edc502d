// A warp norms one row: LayerNorm, HeadNorm, and the gate behind it. Of the kernels of norm.cu, and of
// retention, which ends with it.
#pragma once

#include "core/backends/cuda/kernels/activation.cuh"
#include "core/backends/cuda/kernels/warp.cuh"

namespace vretnet::cuda {

struct Statistics {
  float center, inverse_deviation;
};
// Of the numbers x(c).
template <class X>
__device__ inline Statistics statistics_of(unsigned width, bool centered, float epsilon, const X& x) {
  const float center = centered ? row_sum(width, x) / width : 0;
  const float squares = row_sum(width, [&](unsigned c) {
    const float deviation = x(c) - center;
    return deviation * deviation;
  });
  return {center, 1 / sqrtf(squares / width + epsilon)};
}

template <class S>
struct Norm {
  const S *gain, *bias;             // null: 1 and 0
  float *mean, *inverse_deviation;  // kept, or null
  float epsilon;
  bool centered, accumulate;
};

// y (+)= x̂ · gain + bias, multiplied by swish(g) where g is given. y may lie where x(c) reads its c-th
// number: a lane reads its own before it writes them.
template <class S, class X>
__device__ inline Statistics normalize_row(S* y, const S* g, unsigned width, const Norm<S>& norm,
                                           const X& x) {
  const Statistics statistics = statistics_of(width, norm.centered, norm.epsilon, x);
  for (unsigned c = lane(); c < width; c += kWarpSize) {
    float value = (x(c) - statistics.center) * statistics.inverse_deviation;
    if (norm.gain) value = value * load(norm.gain + c) + load(norm.bias + c);
    if (g) value *= activation(ops::ActivationKind::silu, load(g + c));
    store(y + c, norm.accumulate ? load(y + c) + value : value);
  }
  return statistics;
}

}  // namespace vretnet::cuda
