// GELU (exact, by erf) and SiLU with their derivatives. cuBLASLt's GELU is the tanh form and 4.7e-4 off.
#pragma once

#include <gpu.h>

#include "core/ops/ops.h"

namespace vretnet::cuda {

__device__ inline float sigmoid(float x) {
  return 1 / (1 + expf(-x));
}
__device__ inline float normal_distribution(float x) {
  constexpr float kInverseRoot2 = 0.70710678118654752f;
  // Φ(x) by erfc where x < 0: 1 + erf would cancel.
  return x < 0 ? 0.5f * erfcf(-x * kInverseRoot2) : 0.5f * (1 + erff(x * kInverseRoot2));
}
__device__ inline float activation(ops::ActivationKind kind, float x) {
  if (kind == ops::ActivationKind::gelu) return x * normal_distribution(x);
  if (kind == ops::ActivationKind::silu) return x * sigmoid(x);
  return x;
}
__device__ inline float activation_derivative(ops::ActivationKind kind, float x) {
  constexpr float kInverseRoot2Pi = 0.39894228040143268f;
  if (kind == ops::ActivationKind::gelu) {
    return normal_distribution(x) + x * kInverseRoot2Pi * expf(-0.5f * x * x);
  }
  if (kind == ops::ActivationKind::silu) {
    const float s = sigmoid(x);
    return s * (1 + x * (1 - s));
  }
  return 1;
}

}  // namespace vretnet::cuda
