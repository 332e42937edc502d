// SquaredNorm, AdamW and Lerp over flat arrays.
#pragma once

#include <algorithm>
#include <cmath>

#include "core/backends/reference/elements.h"

namespace vretnet::reference {

template <class T>
void run(const ops::SquaredNorm& op) {
  const Elements<T> x(op.x), y(op.y);
  constexpr Index kBlock = 512;  // one sum over all parameters of a model would lose four digits in f32
  T sum = 0;
  for (Index begin = 0; begin < x.extent(0); begin += kBlock) {
    T part = 0;
    for (Index i = begin; i < std::min(begin + kBlock, x.extent(0)); ++i) part += x(i) * x(i);
    sum += part;
  }
  y(0) = sum;
}

template <class T>
void run(const ops::AdamW& op) {
  using std::sqrt;
  const Elements<T> parameter(op.parameter), gradient(op.gradient), first_moment(op.first_moment),
      second_moment(op.second_moment), step_scalars(op.step_scalars), squared_norm(op.gradient_squared_norm);
  const T learning_rate = step_scalars(ops::kLearningRate), correction1 = step_scalars(ops::kBiasCorrection1),
          correction2 = step_scalars(ops::kBiasCorrection2);
  const T beta1(op.beta1), beta2(op.beta2), new1(1 - op.beta1), new2(1 - op.beta2);
  if (op.gradient_squared_norm && !(squared_norm(0) - squared_norm(0) < T(1))) return;  // ∞ or NaN
  T clip = 1;
  if (op.max_norm > 0) {
    const T ratio = T(op.max_norm) / (sqrt(squared_norm(0)) + T(1e-6));
    if (ratio < clip) clip = ratio;
  }
  for (Index i = 0; i < parameter.extent(0); ++i) {
    const T g = gradient(i) * clip;
    first_moment(i) = beta1 * first_moment(i) + new1 * g;
    second_moment(i) = beta2 * second_moment(i) + new2 * g * g;
    parameter(i) -= learning_rate * T(op.weight_decay) * parameter(i);
    parameter(i) -= learning_rate * (first_moment(i) / correction1) /
                    (sqrt(second_moment(i) / correction2) + T(op.epsilon));
  }
}

template <class T>
void run(const ops::Lerp& op) {
  const Elements<T> x(op.x), y(op.y), step_scalars(op.step_scalars);
  for (Index i = 0; i < y.extent(0); ++i) y(i) += step_scalars(ops::kEmaWeight) * (x(i) - y(i));
}

}  // namespace vretnet::reference
