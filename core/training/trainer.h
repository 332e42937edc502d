// Training, a step at a time: the caller decides when to validate, print, save or stop.
#pragma once

#include <cstdint>
#include <vector>

#include "core/model/session.h"
#include "core/training/batch_source.h"
#include "core/training/optimizer.h"
#include "core/training/schedule.h"

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
};

// Where a run stands between two steps: with the weights, moments and average this is all that a resume
// needs.
struct Position {
  std::int64_t epoch = 0;                // the running one, from 0
  std::int64_t batch = 0;                // batches of it already used
  std::int64_t step = 0;                 // optimizer steps since the start
  double loss_sum = 0;                   // over the images of the running epoch
  std::int64_t images = 0, correct = 0;  // of mixed images the heavier label counts
  bool operator==(const Position&) const = default;
};

class Trainer {
 public:
  // The model and the source must outlive the trainer. The weights start as zeros: set them with
  // model::upload_values(weights(), …), or load a saved state.
  Trainer(const model::Model& model, Backend& backend, BatchSource& source, const TrainingOptions& options);

  // Goes to a position (the start, or one that was saved); the next step continues from there.
  void start_at(const Position& position);
  // Copies the weights into the moving average: call once after the first weights are set.
  void start_average();
  // One optimizer step. False, having done nothing, when the epoch has no batch left. Throws RunError when
  // the loss is not finite; the weights are then those of the step before.
  bool step();
  // Moves on to the next epoch; the sums start again from 0.
  void next_epoch();

  const Position& position() const { return position_; }
  std::int64_t epochs() const { return options_.epochs + options_.cooldown_epochs; }
  bool finished() const { return position_.epoch >= epochs(); }
  std::int64_t steps_per_epoch() const;
  std::int64_t total_steps() const { return steps_per_epoch() * epochs(); }
  double learning_rate() const;                    // of the next step
  double last_loss() const { return last_loss_; }  // mean over the images of the last step
  double gradient_norm() { return optimizer_.gradient_norm(); }

  const View& weights() const { return weights_.view(); }
  const View& gradients() const { return gradients_.view(); }
  Optimizer& optimizer() { return optimizer_; }
  const Optimizer& optimizer() const { return optimizer_; }
  // What users get: the moving average where there is one, else the weights.
  const View& best_weights() const { return optimizer_.average() ? optimizer_.average() : weights_.view(); }
  std::size_t arena_bytes() const { return session_.arena_bytes(); }

 private:
  void add_gradients(const Batch& batch, std::int64_t group);

  const model::Model& model_;
  Backend& backend_;
  BatchSource& source_;
  TrainingOptions options_;
  Allocation weights_, gradients_;
  Optimizer optimizer_;
  model::Session session_;
  Allocation targets_, losses_, d_logits_, class_weights_;  // [largest batch, classes], [largest batch], …
  std::vector<float> host_targets_, host_losses_, host_logits_;
  Position position_;
  double last_loss_ = 0;
};

}  // namespace vretnet::training
