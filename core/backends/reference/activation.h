// GELU (exact, by erf) and SiLU with their derivatives.
#pragma once

#include <cmath>

#include "core/ops/ops.h"

namespace vretnet::reference {

template <class T>
T sigmoid(const T& x) {
  using std::exp;
  return T(1) / (T(1) + exp(-x));
}

// Φ(x), the normal distribution, and its density.
template <class T>
T normal_distribution(const T& x) {
  using std::erf;
  return T(0.5) * (T(1) + erf(x * T(M_SQRT1_2)));
}
template <class T>
T normal_density(const T& x) {
  using std::exp;
  return T(0.5 * M_SQRT1_2 * M_2_SQRTPI) * exp(T(-0.5) * x * x);
}

template <class T>
T activation(ops::ActivationKind kind, const T& x) {
  switch (kind) {
    case ops::ActivationKind::gelu:
      return x * normal_distribution(x);
    case ops::ActivationKind::silu:
      return x * sigmoid(x);
    default:
      return x;
  }
}

template <class T>
T activation_derivative(ops::ActivationKind kind, const T& x) {
  switch (kind) {
    case ops::ActivationKind::gelu:
      return normal_distribution(x) + x * normal_density(x);
    case ops::ActivationKind::silu:
      return sigmoid(x) * (T(1) + x * (T(1) - sigmoid(x)));
    default:
      return T(1);
  }
}

}  // namespace vretnet::reference
