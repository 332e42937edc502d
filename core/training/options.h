// What a training run is asked to do, beside its model and its data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/layers/pass.h"
#include "core/training/optimizer.h"

namespace vretnet::training {

struct TrainingOptions {
  std::int64_t epochs = 10;
  std::int64_t cooldown_epochs = 0;  // more epochs after these, at the minimum learning rate
  std::int64_t accumulation = 1;     // batches whose gradients are averaged into one step
  double learning_rate = 1e-3, minimum_learning_rate = 1e-5, warmup_start = 1e-6;
  double warmup_epochs = 1;
  bool constant_rate = false;
  double smoothing = 0.1;
  std::vector<float> class_weights;  // one a class, or empty
  OptimizerOptions optimizer;
  layers::Pass::Options pass{.mode = layers::Mode::training};
  // Of several machines: bytes of the gradient that travel at a time, while backward makes the next ones.
  std::size_t bucket_bytes = std::size_t{24} << 20;
};

}  // namespace vretnet::training
