// One machine's part of a training run: its copy of the weights, its images of every batch, its update.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/model/session.h"
#include "core/ops/recorded.h"
#include "core/training/batch_source.h"
#include "core/training/gradient_sum.h"
#include "core/training/optimizer.h"
#include "core/training/options.h"

namespace vretnet::training {

// A step is load, queue, read; load for the next step may come before read. A backend that records (a GPU)
// notes what queue() runs, from the first gradient to the moving average, and replays it whole.
class Replica {
 public:
  // `most_images` at a time. Model and backend must outlive it.
  Replica(const model::Model& model, Backend& backend, std::int64_t most_images,
          const TrainingOptions& options);

  // The part of a batch that the next queue() works on; its count may be 0.
  void load(const Batch& part);

  // What of a step the loaded images are.
  struct Part {
    float gradient_scale = 1;  // 1 / images of the step, on all machines
    bool first = true;         // the gradient starts from 0
    bool last = true;          // with this the gradient is whole: it is summed over the machines and applied
    bool operator==(const Part&) const = default;
  };
  // Only queues. Optimizer::set_step must have been called for the last part.
  void queue(const Part& part);

  // What the last queue() on `count` images made: losses [count], logits [count, classes]. Waits for it.
  void read(std::int64_t count, float* losses, float* logits);

  Backend& backend() { return backend_; }
  Optimizer& optimizer() { return optimizer_; }
  const Optimizer& optimizer() const { return optimizer_; }
  const View& weights() const { return weights_.view(); }
  const View& gradients() const { return gradients_.view(); }
  // All that a run keeps from step to step.
  std::vector<View> state() const;
  std::size_t arena_bytes() const { return session_.arena_bytes(); }

 private:
  void run_ops(const Part& part);

  struct Step {
    std::int64_t count;
    Part part;
    Recorded work;
  };

  Backend& backend_;
  float smoothing_;
  Allocation weights_, gradients_;
  Optimizer optimizer_;
  std::optional<GradientSum> sum_;  // where there are other machines
  model::Session session_;
  Allocation targets_, losses_, logits_, d_logits_, class_weights_;  // [most images, classes], …
  std::vector<float> host_targets_;
  std::vector<Step> steps_;
  std::int64_t loaded_ = 0;
};

}  // namespace vretnet::training
