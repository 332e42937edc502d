#include "core/model/session.h"

#include <algorithm>
#include <utility>

#include "core/base/check.h"
#include "core/base/error.h"
#include "core/model/weights.h"

namespace vretnet::model {
namespace {

// Host pixels into a backend's view of the same number of elements, of f32 or f64.
void upload_pixels(Backend& backend, const View& target, const float* pixels) {
  if (target.dtype() == DType::f32) return backend.upload(target, pixels);
  const std::vector<double> converted(pixels, pixels + target.elements());
  backend.upload(target, converted.data());
}

}  // namespace

WeightsCopy::WeightsCopy(Backend& backend, const View& weights, DType dtype)
    : backend_(backend), weights_(weights) {
  check(backend.runs_in(dtype), "{} does not run in {}", backend.name(), name_of(dtype));
  if (weights.dtype() != dtype) copy_ = Allocation(backend, dtype, weights.shape());
}

void WeightsCopy::make() {
  if (copy_.view()) backend_.run(ops::Convert{.x = weights_, .y = copy_.view()});
}

void WeightsCopy::make_if_new() {
  if (!std::exchange(made_, true)) make();
}

Session::Session(const Model& model, Backend& backend, const View& weights, const View& gradients,
                 const layers::Pass::Options& options)
    : model_(model),
      backend_(backend),
      options_(options),
      tables_(backend, options.dtype),
      weights_(backend, weights, options.dtype),
      pass_(backend, model.parameters(), tables_, weights_.view(), gradients, options) {}

View Session::read(const View& images) {
  input_ = pass_.as_activations(images);
  return input_;
}

Session::Plan& Session::plan(std::int64_t batch) {
  const auto known =
      std::find_if(plans_.begin(), plans_.end(), [&](const Plan& plan) { return plan.batch == batch; });
  if (known != plans_.end()) return *known;
  logits_ = input_ = {};
  const auto forget_recordings = [&] {  // which hold the addresses of memory that is about to go
    for (Plan& plan : plans_) {
      plan.forward.reset();
      plan.backward.reset();
    }
  };
  if (!images_.view() || images_.view().extent(0) < batch) {
    forget_recordings();
    images_ = Allocation(backend_, wide_of(options_.dtype), model_.input_shape(batch));
  }
  Arena measured;
  {
    const View images = images_.view().slice(0, 0, batch);
    pass_.start(measured, {}, /*measuring=*/true);
    Tensor logits = model_.forward(pass_, read(images));
    if (pass_.training()) model_.backward(pass_, std::move(logits));
    input_ = {};
    check(pass_.saved() == 0, "{} tensors were saved and never taken", pass_.saved());
  }
  if (measured.peak_bytes() > arena_bytes()) {
    forget_recordings();
    arena_.reset();
    memory_ = Allocation();  // the old memory goes first
    memory_ = Allocation(backend_, measured.peak_bytes());
    arena_ = std::make_unique<Arena>(memory_.buffer());
  }
  return plans_.emplace_back(Plan{.batch = batch});
}

template <class Walk>
void Session::run_or_record(bool record, std::unique_ptr<Recording>& recording, const Walk& walk) {
  if (!record) return walk();
  backend_.begin_recording();
  walk();
  recording = backend_.end_recording();
  recording->replay();
}

View Session::forward(const float* images, std::int64_t batch) {
  Plan& known = plan(batch);
  const View input = images_.view().slice(0, 0, batch);
  upload_pixels(backend_, input, images);
  forwarded_ = batch;
  if (!pass_.training()) weights_.make_if_new();
  if (known.forward) {
    known.forward->replay();
    return known.logits;
  }
  logits_ = input_ = {};
  run_or_record(backend_.records() && known.ran, known.forward, [&] {
    pass_.start(*arena_, {});
    if (pass_.training()) weights_.make();
    logits_ = model_.forward(pass_, read(input));
  });
  known.ran = true;
  known.logits = logits_;
  return logits_;
}

void Session::backward(const View& d_logits) {
  check(pass_.training() && forwarded_ >= 0, "backward without a forward in training mode");
  Plan& known = plan(std::exchange(forwarded_, -1));
  if (known.backward) return known.backward->replay();
  logits_ = {};
  run_or_record(known.forward != nullptr, known.backward, [&] { model_.backward(pass_, d_logits); });
  check(pass_.saved() == 0, "{} tensors were saved and never taken", pass_.saved());
}

Stream::Stream(const Model& model, Backend& backend, const View& weights,
               const layers::Pass::Options& options, std::int64_t width)
    : model_(model),
      backend_(backend),
      options_(options),
      width_(width),
      channels_(model.input_shape(1)[3]),
      tables_(backend, options.dtype),
      weights_(backend, weights, options.dtype),
      pass_(backend, model.parameters(), tables_, weights_.view(), View(), options) {
  if (const std::string reason = model.why_not_streamable(); !reason.empty()) throw UsageError(reason);
  check(width % model.patch_size() == 0, "{} pixels are no whole number of patches of {}", width,
        model.patch_size());
}

View Stream::push(const float* pixels, std::int64_t patch_rows) {
  const Shape shape{1, patch_rows * model_.patch_size(), width_, channels_};
  const std::int64_t patches_across = width_ / model_.patch_size();
  const layers::Place place{patch_rows, patches_across, rows_seen_ * patches_across, /*streaming=*/true};
  logits_ = {};
  if (planned_rows_ != patch_rows) {
    pixels_ = Allocation(backend_, wide_of(options_.dtype), shape);
    Arena measured;
    {
      pass_.start(measured, place, /*measuring=*/true, &state_);
      const Tensor input = pass_.as_activations(pixels_.view());
      model_.forward(pass_, input);
    }
    arena_.reset();
    memory_ = Allocation();
    memory_ = Allocation(backend_, measured.peak_bytes());
    arena_ = std::make_unique<Arena>(memory_.buffer());
    planned_rows_ = patch_rows;
  }
  upload_pixels(backend_, pixels_.view(), pixels);
  weights_.make_if_new();
  pass_.start(*arena_, place, /*measuring=*/false, &state_);
  const Tensor input = pass_.as_activations(pixels_.view());
  logits_ = model_.forward(pass_, input);
  rows_seen_ += patch_rows;
  return logits_;
}

}  // namespace vretnet::model
