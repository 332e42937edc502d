#include "core/training/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/base/check.h"
#include "core/base/error.h"
#include "core/training/metrics.h"

namespace vretnet::training {

Trainer::Trainer(const model::Model& model, Backend& backend, BatchSource& source,
                 const TrainingOptions& options)
    : model_(model),
      backend_(backend),
      source_(source),
      options_(options),
      weights_(backend, DType::f32, {model.parameters().elements()}),
      gradients_(backend, DType::f32, {model.parameters().elements()}),
      optimizer_(backend, model.parameters(), DType::f32, options.optimizer),
      session_(model, backend, weights_.view(), gradients_.view(), options.pass) {
  check(wide_of(options.pass.dtype) == DType::f32, "training runs in f32 or bf16, not {}",
        name_of(options.pass.dtype));
  const std::int64_t batch = source.batch_size(), classes = model.classes();
  targets_ = Allocation(backend, DType::f32, {batch, classes});
  losses_ = Allocation(backend, DType::f32, {batch});
  d_logits_ = Allocation(backend, DType::f32, {batch, classes});
  if (!options.class_weights.empty()) {
    check(static_cast<std::int64_t>(options.class_weights.size()) == classes,
          "{} class weights for {} classes", options.class_weights.size(), classes);
    class_weights_ = Allocation(backend, DType::f32, {classes});
    backend.upload(class_weights_.view(), options.class_weights.data());
  }
  host_targets_.resize(static_cast<std::size_t>(batch * classes));
  host_losses_.resize(static_cast<std::size_t>(batch));
  host_logits_.resize(static_cast<std::size_t>(batch * classes));
}

std::int64_t Trainer::steps_per_epoch() const {
  return (source_.batches() + options_.accumulation - 1) / options_.accumulation;
}

double Trainer::learning_rate() const {
  Schedule schedule{options_.learning_rate, options_.minimum_learning_rate, options_.warmup_start};
  schedule.warmup_steps = std::llround(options_.warmup_epochs * static_cast<double>(steps_per_epoch()));
  schedule.total_steps = total_steps();
  schedule.constant = options_.constant_rate;
  return training::learning_rate(schedule, position_.step);
}

void Trainer::start_at(const Position& position) {
  position_ = position;
  if (!finished()) source_.start_epoch(position_.epoch, position_.batch);
}

void Trainer::start_average() {
  if (optimizer_.average()) backend_.run(ops::Convert{weights_.view(), optimizer_.average()});
}

void Trainer::next_epoch() {
  start_at({.epoch = position_.epoch + 1, .batch = 0, .step = position_.step});
}

bool Trainer::step() {
  const std::int64_t group = std::min(options_.accumulation, source_.batches() - position_.batch);
  const Position before = position_;
  std::int64_t used = 0;
  for (; used < group; ++used) {
    const Batch* batch = source_.next();
    if (batch == nullptr) break;
    if (used == 0) backend_.fill(gradients_.view(), 0);
    position_.batch = batch->position + 1;
    add_gradients(*batch, group);
  }
  if (used == 0) return false;
  const std::int64_t images = position_.images - before.images;
  last_loss_ = (position_.loss_sum - before.loss_sum) / static_cast<double>(images);
  if (!std::isfinite(last_loss_)) {
    throw RunError(fmt::format(
        "the loss is {} in epoch {}, step {}: try a lower --lr, more --warmup-epochs or --clip-grad",
        last_loss_, before.epoch + 1, before.step));
  }
  optimizer_.update(weights_.view(), gradients_.view(), learning_rate(), position_.step);
  ++position_.step;
  return true;
}

void Trainer::add_gradients(const Batch& batch, std::int64_t group) {
  const std::int64_t count = batch.count, classes = model_.classes();
  const View logits = session_.forward(batch.images, count);

  std::fill_n(host_targets_.begin(), count * classes, 0.0f);
  for (std::int64_t i = 0; i < count; ++i)
    host_targets_[static_cast<std::size_t>(i * classes + batch.labels[i])] = 1;
  const auto part = [&](const Allocation& whole) { return whole.view().slice(0, 0, count); };
  backend_.upload(part(targets_), host_targets_.data());
  ops::CrossEntropy loss{logits, part(targets_), class_weights_.view(), part(losses_), part(d_logits_)};
  loss.smoothing = static_cast<float>(options_.smoothing);
  loss.gradient_scale = 1.0f / static_cast<float>(count * group);
  backend_.run(loss);
  backend_.download(part(losses_), host_losses_.data());
  backend_.download(logits, host_logits_.data());  // before backward, which gives their memory to others
  session_.backward(part(d_logits_));

  for (std::int64_t i = 0; i < count; ++i) {
    const float* row = host_logits_.data() + i * classes;
    position_.loss_sum += host_losses_[static_cast<std::size_t>(i)];
    position_.correct += rank_of({row, static_cast<std::size_t>(classes)}, batch.labels[i]) == 0;
  }
  position_.images += count;
}

}  // namespace vretnet::training
