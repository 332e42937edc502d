// AdamW with gradient clipping and, if wanted, a moving average of the weights: a handful of ops over flat
// arrays.
#pragma once

#include <cstdint>

#include "core/layers/parameters.h"
#include "core/ops/backend.h"

namespace vretnet::training {

struct OptimizerOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0.05;  // of the decaying part of the flat array only
  double clip_norm = 1.0;      // of the whole gradient; 0: no clipping
  double ema_decay = 0;        // 0: no moving average; else e.g. 0.9998, reached as min(decay, (1+t)/(10+t))
};

class Optimizer {
 public:
  Optimizer(Backend& backend, const layers::ParameterTable& table, DType dtype,
            const OptimizerOptions& options);

  // One update: weights change in place from `gradients`; `step` counts from 0. A gradient that is not finite
  // leaves weights and moments as they are.
  void update(const View& weights, const View& gradients, double learning_rate, std::int64_t step);
  // update() in two parts, for whoever records it: what changes from step to step is uploaded, the rest only
  // queues ops.
  void set_step(double learning_rate, std::int64_t step);
  void apply(const View& weights, const View& gradients);
  // The length of the last gradient, before clipping (reads from the backend).
  double gradient_norm();

  const View& first_moment() const { return first_moment_.view(); }
  const View& second_moment() const { return second_moment_.view(); }
  const View& average() const { return average_.view(); }  // empty without a moving average

 private:
  Backend& backend_;
  std::int64_t decaying_, elements_;
  OptimizerOptions options_;
  Allocation first_moment_, second_moment_, average_, step_scalars_, squared_norm_, workspace_;
};

}  // namespace vretnet::training
