// Training, a step at a time: the caller decides when to validate, print, save or stop.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/training/batch_source.h"
#include "core/training/options.h"
#include "core/training/replica.h"
#include "core/training/schedule.h"
#include "core/training/workers.h"

namespace vretnet::training {

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
  // On several machines, each with its share of every batch and, after each step, with the same weights. What
  // is said of weights and of the optimizer below is the first one's. Throws UsageError where the batch size
  // is no multiple of their number.
  Trainer(const model::Model& model, std::span<Backend* const> machines, BatchSource& source,
          const TrainingOptions& options);

  // Goes to a position (the start, or one that was saved); the next step continues from there, with the first
  // machine's weights, moments and average on all.
  void start_at(const Position& position);
  // Copies the weights into the moving average: call once after the first weights are set, before start_at.
  void start_average();
  // One optimizer step. False, having done nothing, when the epoch has no batch left. Throws RunError when
  // the loss or the gradient is not finite; weights and moments are then those of the step before. Takes the
  // next batch from the source, too, while the machines work.
  bool step();
  // Moves on to the next epoch; the sums start again from 0.
  void next_epoch();

  const Position& position() const { return position_; }
  std::int64_t epochs() const { return options_.epochs + options_.cooldown_epochs; }
  bool finished() const { return position_.epoch >= epochs(); }
  std::int64_t steps_per_epoch() const;
  std::int64_t total_steps() const { return steps_per_epoch() * epochs(); }
  double learning_rate() const;                            // of the next step
  double last_loss() const { return last_loss_; }          // mean over the images of the last step
  double gradient_norm() const { return gradient_norm_; }  // of the last step, before clipping

  const View& weights() const { return replicas_.front()->weights(); }
  const View& gradients() const { return replicas_.front()->gradients(); }
  Optimizer& optimizer() { return replicas_.front()->optimizer(); }
  const Optimizer& optimizer() const { return replicas_.front()->optimizer(); }
  // What users get: the moving average where there is one, else the weights.
  const View& best_weights() const { return optimizer().average() ? optimizer().average() : weights(); }
  std::size_t arena_bytes() const { return replicas_.front()->arena_bytes(); }  // of a machine
  const Replica& replica(int machine) const { return *replicas_[static_cast<std::size_t>(machine)]; }

 private:
  // A batch that lies on the machines.
  struct Loaded {
    std::int64_t count = 0, position = 0;
    std::vector<std::int32_t> labels;  // what counts as right
  };
  void go_to(const Position& position);
  bool load_next();
  void queue(const Replica::Part& part);
  void read(const Loaded& batch);
  std::int64_t share_begin(std::int64_t count, int machine) const;  // of a batch of `count` images
  Replica& at(int machine) { return *replicas_[static_cast<std::size_t>(machine)]; }

  const model::Model& model_;
  BatchSource& source_;
  TrainingOptions options_;
  std::vector<std::unique_ptr<Replica>> replicas_;
  Workers workers_;
  Loaded next_, current_;
  bool loaded_ = false, exhausted_ = false;  // next_ holds a batch; the epoch has none left
  std::vector<float> host_losses_, host_logits_;
  Position position_;
  double last_loss_ = 0, gradient_norm_ = 0;
};

}  // namespace vretnet::training
