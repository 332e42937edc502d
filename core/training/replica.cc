#include "core/training/replica.h"

#include <algorithm>

#include "core/base/ensure.h"
#include "core/training/mixing.h"

namespace vretnet::training {

Replica::Replica(const model::Model& model, Backend& backend, std::int64_t most_images,
                 const TrainingOptions& options)
    : backend_(backend),
      smoothing_(static_cast<float>(options.smoothing)),
      drop_path_(options.drop_path),
      weights_(backend, DType::f32, {model.parameters().elements()}),
      gradients_(backend, DType::f32, {model.parameters().elements()}),
      optimizer_(backend, model.parameters(), DType::f32, options.optimizer),
      sum_(backend.communicator()
               ? std::optional<GradientSum>(std::in_place, backend, gradients_.view(),
                                            model.parameters().decaying_elements(), options.bucket_bytes)
               : std::nullopt),
      session_(model, sum_ ? *sum_ : backend, weights_.view(), gradients_.view(), options.pass) {
  ensure(wide_of(options.pass.dtype) == DType::f32, "training runs in f32 or bf16, not {}",
         name_of(options.pass.dtype));
  const std::int64_t classes = model.classes();
  targets_ = Allocation(backend, DType::f32, {most_images, classes});
  losses_ = Allocation(backend, DType::f32, {most_images});
  logits_ = Allocation(backend, DType::f32, {most_images, classes});
  d_logits_ = Allocation(backend, DType::f32, {most_images, classes});
  if (!options.class_weights.empty()) {
    ensure(static_cast<std::int64_t>(options.class_weights.size()) == classes,
           "{} class weights for {} classes", options.class_weights.size(), classes);
    class_weights_ = Allocation(backend, DType::f32, {classes});
    backend.upload(class_weights_.view(), options.class_weights.data());
  }
  host_targets_.resize(static_cast<std::size_t>(most_images * classes));
  if (drop_path_.rate > 0) drop_rates_ = drop_rates(drop_path_.rate, model.branch_depths());
  if (drop_rates_.empty()) return;
  branch_scales_ = Allocation(backend, DType::f32, {std::ssize(drop_rates_), most_images});
  host_branch_scales_.resize(static_cast<std::size_t>(branch_scales_.view().elements()));
  session_.scale_branches(branch_scales_.view());
}

std::vector<View> Replica::state() const {
  std::vector<View> views{weights(), optimizer_.first_moment(), optimizer_.second_moment()};
  if (optimizer_.average()) views.push_back(optimizer_.average());
  return views;
}

void Replica::load(const Batch& part, std::int64_t epoch, std::int64_t first_image) {
  loaded_ = part.count;
  if (loaded_ == 0) return;
  if (session_.load(part.images, loaded_)) {
    for (Step& step : steps_) step.work.forget();
  }
  fill_targets(part, targets_.view().extent(1), host_targets_);
  backend_.upload(targets_.view().slice(0, 0, loaded_), host_targets_.data());
  if (drop_rates_.empty()) return;
  fill_branch_scales(drop_path_.seed, drop_rates_, epoch, first_image, loaded_, host_branch_scales_);
  backend_.upload(branch_scales_.view(), host_branch_scales_.data());
}

void Replica::queue(const Part& part) {
  auto step = std::find_if(steps_.begin(), steps_.end(),
                           [&](const Step& each) { return each.count == loaded_ && each.part == part; });
  if (step == steps_.end()) step = steps_.insert(step, Step{loaded_, part, {}});
  step->work.run(backend_, [&] { run_ops(part); });
  if (part.last) backend_.weights_changed();
}

void Replica::run_ops(const Part& part) {
  if (part.first) backend_.fill(gradients_.view(), 0);
  if (loaded_ > 0) {
    const auto of_batch = [&](const Allocation& whole) { return whole.view().slice(0, 0, loaded_); };
    const View logits = session_.forward_loaded();
    backend_.run(ops::Convert{logits, of_batch(logits_)});  // backward gives their memory to others
    ops::CrossEntropy loss{logits, of_batch(targets_), class_weights_.view(), of_batch(losses_),
                           of_batch(d_logits_)};
    loss.smoothing = smoothing_;
    loss.gradient_scale = part.gradient_scale;
    backend_.run(loss);
    if (sum_ && part.last) sum_->begin(loaded_);
    session_.backward(of_batch(d_logits_));
  }
  if (!part.last) return;
  if (sum_) sum_->end();
  optimizer_.apply(weights_.view(), gradients_.view());
}

void Replica::read(std::int64_t count, float* losses, float* logits) {
  if (count == 0) return;
  backend_.download(losses_.view().slice(0, 0, count), losses);
  backend_.download(logits_.view().slice(0, 0, count), logits);
}

}  // namespace vretnet::training
