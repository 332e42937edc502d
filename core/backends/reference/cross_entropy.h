// CrossEntropy with soft targets, smoothing and class weights; the loss and its gradient in one pass over a
// row.
#pragma once

#include <cmath>

#include "core/backends/reference/elements.h"

namespace vretnet::reference {

template <class T>
void run(const ops::CrossEntropy& op) {
  using std::exp;
  using std::log;
  const Elements<T> logits(op.logits), targets(op.targets), class_weight(op.class_weight), loss(op.loss),
      d_logits(op.d_logits);
  const Index classes = logits.extent(1);
  for (Index b = 0; b < logits.extent(0); ++b) {
    T largest = logits(b, 0), sum = 0, sum_of_targets = 0;
    for (Index c = 0; c < classes; ++c) {
      if (logits(b, c) > largest) largest = logits(b, c);
      sum_of_targets += targets(b, c);
    }
    for (Index c = 0; c < classes; ++c) sum += exp(logits(b, c) - largest);
    const T smooth = T(op.smoothing) * sum_of_targets / T(classes);
    const auto weighted_target = [&](Index c) {
      const T target = (T(1) - T(op.smoothing)) * targets(b, c) + smooth;
      return class_weight ? class_weight(c) * target : target;
    };
    T total = 0, sum_of_weighted = 0;
    for (Index c = 0; c < classes; ++c) {
      total += weighted_target(c) * (log(sum) - (logits(b, c) - largest));
      sum_of_weighted += weighted_target(c);
    }
    loss(b) = total;
    if (!d_logits) continue;
    const T zero = total - total;  // or NaN, where the loss is not finite
    for (Index c = 0; c < classes; ++c) {
      const T probability = exp(logits(b, c) - largest) / sum;
      const T gradient = T(op.gradient_scale) * (probability * sum_of_weighted - weighted_target(c));
      d_logits(b, c) = zero < T(1) ? gradient : zero;
    }
  }
}

}  // namespace vretnet::reference
