#include "core/training/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "core/base/ensure.h"
#include "core/base/error.h"
#include "core/ops/communicator.h"
#include "core/training/metrics.h"
#include "core/training/mixing.h"

namespace vretnet::training {

namespace {

constexpr const char* kRemedy = "try a lower --lr, more --warmup-epochs or --clip-grad";

}  // namespace

Trainer::Trainer(const model::Model& model, Backend& backend, BatchSource& source,
                 const TrainingOptions& options)
    : Trainer(model, std::array{&backend}, source, options) {}

Trainer::Trainer(const model::Model& model, std::span<Backend* const> machines, BatchSource& source,
                 const TrainingOptions& options)
    : model_(model), source_(source), options_(options), workers_(static_cast<int>(machines.size())) {
  const std::int64_t batch = source.batch_size(), count = std::ssize(machines);
  if (batch % count != 0) {
    throw UsageError(
        fmt::format("--batch-size {} is shared by {} devices, of which it is no multiple: {} or {}", batch,
                    count, std::max(count, batch / count * count), (batch / count + 1) * count));
  }
  for (Backend* machine : machines) {
    ensure(count == 1 || machine->communicator(), "{} machines, and {} has no communicator", count,
           machine->name());
    replicas_.push_back(std::make_unique<Replica>(model, *machine, batch / count, options));
  }
  for (Loaded* each : {&next_, &current_}) each->labels.reserve(static_cast<std::size_t>(batch));
  host_losses_.resize(static_cast<std::size_t>(batch));
  host_logits_.resize(static_cast<std::size_t>(batch * model.classes()));
}

std::int64_t Trainer::steps_per_epoch() const {
  return (source_.batches() + options_.accumulation - 1) / options_.accumulation;
}

double Trainer::learning_rate() const {
  Schedule schedule{options_.learning_rate, options_.minimum_learning_rate, options_.warmup_start};
  schedule.warmup_steps = std::llround(options_.warmup_epochs * static_cast<double>(steps_per_epoch()));
  schedule.total_steps = steps_per_epoch() * options_.epochs;
  schedule.cooldown = options_.cooldown_epochs > 0;
  schedule.constant = options_.constant_rate;
  return training::learning_rate(schedule, position_.step);
}

void Trainer::go_to(const Position& position) {
  position_ = position;
  loaded_ = exhausted_ = false;
  if (!finished()) source_.start_epoch(position_.epoch, position_.batch);
}

void Trainer::start_at(const Position& position) {
  go_to(position);
  const std::vector<View> state = replicas_.front()->state();
  for (std::size_t i = 0; i < state.size() && replicas_.size() > 1; ++i) {
    std::vector<float> values(static_cast<std::size_t>(state[i].elements()));
    replicas_.front()->backend().download(state[i], values.data());
    for (std::size_t other = 1; other < replicas_.size(); ++other) {
      replicas_[other]->backend().upload(replicas_[other]->state()[i], values.data());
      replicas_[other]->backend().weights_changed();
    }
  }
}

void Trainer::start_average() {
  if (optimizer().average()) at(0).backend().run(ops::Convert{weights(), optimizer().average()});
}

void Trainer::next_epoch() {
  go_to({.epoch = position_.epoch + 1, .batch = 0, .step = position_.step});
}

std::int64_t Trainer::share_begin(std::int64_t count, int machine) const {
  return count * machine / std::ssize(replicas_);
}

bool Trainer::load_next() {
  const Batch* batch = exhausted_ ? nullptr : source_.next();
  exhausted_ = batch == nullptr;
  loaded_ = !exhausted_;
  if (!loaded_) return false;
  next_.count = batch->count;
  next_.position = batch->position;
  next_.labels.clear();
  for (std::int64_t i = 0; i < batch->count; ++i) next_.labels.push_back(heavier_label(*batch, i));
  const std::int64_t pixels = model_.input_shape(1).elements();
  workers_.each([&](int machine) {
    const std::int64_t begin = share_begin(batch->count, machine);
    Batch part = *batch;
    part.count = share_begin(batch->count, machine + 1) - begin;
    part.images += begin * pixels;
    part.labels += begin;
    if (part.other_labels != nullptr) part.other_labels += begin;
    at(machine).load(part, position_.epoch, batch->position * source_.batch_size() + begin);
  });
  return true;
}

void Trainer::queue(const Replica::Part& part) {
  const auto work = [&](int machine) {
    if (part.last) at(machine).optimizer().set_step(learning_rate(), position_.step);
    at(machine).queue(part);
  };
  workers_.each(work, [&] {  // the others would wait for the one that failed for ever
    for (const auto& replica : replicas_) replica->backend().communicator()->abort();
  });
}

void Trainer::read(const Loaded& batch) {
  const std::int64_t classes = model_.classes();
  workers_.each([&](int machine) {
    const std::int64_t begin = share_begin(batch.count, machine);
    at(machine).read(share_begin(batch.count, machine + 1) - begin, host_losses_.data() + begin,
                     host_logits_.data() + begin * classes);
  });
  for (std::int64_t i = 0; i < batch.count; ++i) {
    const float* row = host_logits_.data() + i * classes;
    position_.loss_sum += host_losses_[static_cast<std::size_t>(i)];
    position_.correct +=
        rank_of({row, static_cast<std::size_t>(classes)}, batch.labels[static_cast<std::size_t>(i)]) == 0;
  }
  position_.images += batch.count;
}

bool Trainer::step() {
  const std::int64_t group = std::min(options_.accumulation, source_.batches() - position_.batch);
  const Position before = position_;
  std::int64_t used = 0;
  for (; used < group && (loaded_ || load_next()); ++used) {
    std::swap(current_, next_);
    loaded_ = false;
    position_.batch = current_.position + 1;
    queue({.gradient_scale = 1.0f / static_cast<float>(current_.count * group),
           .first = used == 0,
           .last = used + 1 == group});
    load_next();
    read(current_);
  }
  if (used == 0) return false;
  if (used < group) {  // the source had fewer batches than it had promised
    workers_.each([&](int machine) { at(machine).load({}); });
    queue({.first = false});
  }
  const std::int64_t images = position_.images - before.images;
  last_loss_ = (position_.loss_sum - before.loss_sum) / static_cast<double>(images);
  gradient_norm_ = optimizer().gradient_norm();
  if (!std::isfinite(last_loss_) || !std::isfinite(gradient_norm_)) {
    const bool loss = !std::isfinite(last_loss_);
    throw RunError(fmt::format("the {} is {} in epoch {}, step {}: {}", loss ? "loss" : "gradient's norm",
                               loss ? last_loss_ : gradient_norm_, before.epoch + 1, before.step, kRemedy));
  }
  ++position_.step;
  return true;
}

}  // namespace vretnet::training
