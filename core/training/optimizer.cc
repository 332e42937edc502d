#include "core/training/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/ops/workspace.h"

namespace vretnet::training {
namespace {

// A few host numbers to a small view of either dtype.
template <std::size_t count>
void upload(Backend& backend, const View& target, const std::array<double, count>& values) {
  if (target.dtype() == DType::f64) return backend.upload(target, values.data());
  std::array<float, count> rounded;
  std::copy(values.begin(), values.end(), rounded.begin());
  backend.upload(target, rounded.data());
}

}  // namespace

Optimizer::Optimizer(Backend& backend, const layers::ParameterTable& table, DType dtype,
                     const OptimizerOptions& options)
    : backend_(backend),
      decaying_(table.decaying_elements()),
      elements_(table.elements()),
      options_(options),
      first_moment_(backend, dtype, {elements_}),
      second_moment_(backend, dtype, {elements_}),
      step_scalars_(backend, dtype, {ops::kStepScalars}),
      squared_norm_(backend, dtype, {1}) {
  if (options.ema_decay > 0) average_ = Allocation(backend, dtype, {elements_});
  const ops::SquaredNorm norm{first_moment_.view(), squared_norm_.view(), {}};
  if (const std::size_t bytes = backend.workspace_bytes(norm)) {
    workspace_ = Allocation(backend, dtype, ops::workspace_shape(bytes, dtype));
  }
}

void Optimizer::update(const View& weights, const View& gradients, double learning_rate, std::int64_t step) {
  set_step(learning_rate, step);
  apply(weights, gradients);
  backend_.weights_changed();
}

void Optimizer::set_step(double learning_rate, std::int64_t step) {
  std::array<double, ops::kStepScalars> scalars{};
  const auto t = static_cast<double>(step) + 1;
  scalars[ops::kLearningRate] = learning_rate;
  scalars[ops::kBiasCorrection1] = 1 - std::pow(options_.beta1, t);
  scalars[ops::kBiasCorrection2] = 1 - std::pow(options_.beta2, t);
  scalars[ops::kEmaWeight] = 1 - std::min(options_.ema_decay, (1 + t) / (10 + t));
  upload(backend_, step_scalars_.view(), scalars);
}

void Optimizer::apply(const View& weights, const View& gradients) {
  backend_.run(ops::SquaredNorm{gradients, squared_norm_.view(), workspace_.view()});
  const auto update_part = [&](std::int64_t begin, std::int64_t end, double weight_decay) {
    const auto part = [&](const View& flat) { return flat.slice(0, begin, end - begin); };
    ops::AdamW op{
        part(weights),        part(gradients),     part(first_moment_.view()), part(second_moment_.view()),
        step_scalars_.view(), squared_norm_.view()};
    op.beta1 = options_.beta1;
    op.beta2 = options_.beta2;
    op.epsilon = static_cast<float>(options_.epsilon);
    op.weight_decay = static_cast<float>(weight_decay);
    op.max_norm = static_cast<float>(options_.clip_norm);
    backend_.run(op);
  };
  update_part(0, decaying_, options_.weight_decay);
  update_part(decaying_, elements_, 0);
  if (average_.view()) backend_.run(ops::Lerp{weights, average_.view(), step_scalars_.view()});
}

double Optimizer::gradient_norm() {
  double squared = 0;
  if (squared_norm_.view().dtype() == DType::f64) {
    backend_.download(squared_norm_.view(), &squared);
  } else {
    float rounded = 0;
    backend_.download(squared_norm_.view(), &rounded);
    squared = rounded;
  }
  return std::sqrt(squared);
}

}  // namespace vretnet::training
