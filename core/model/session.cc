#include "core/model/session.h"

#include <fmt/format.h>

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

std::size_t Session::measured_peak(std::int64_t batch) {
  const Buffer no_memory;
  Arena measured;
  pass_.start(measured, {}, /*measuring=*/true);
  try {
    const Tensor input =
        pass_.as_activations(View(&no_memory, wide_of(options_.dtype), model_.input_shape(batch)));
    Tensor logits = model_.forward(pass_, input);
    if (pass_.training()) model_.backward(pass_, std::move(logits));
  } catch (...) {                                   // no memory for a table
    pass_.start(measured, {}, /*measuring=*/true);  // lets go of what was saved
    throw;
  }
  check(pass_.saved() == 0, "{} tensors were saved and never taken", pass_.saved());
  return measured.peak_bytes();
}

void Session::release_memory() {
  images_ = Allocation();
  arena_.reset();
  memory_ = Allocation();
}

void Session::make_room(std::int64_t batch, std::size_t peak) {
  const bool images = !images_.view() || images_.view().extent(0) < batch;
  const bool arena = peak > arena_bytes();
  if (!images && !arena) return;
  for (Plan& known : plans_) known.forward.forget();
  moved_ = true;
  if (images) {
    images_ = Allocation();  // the old memory goes first
    images_ = Allocation(backend_, wide_of(options_.dtype), model_.input_shape(batch));
  }
  if (arena) {
    arena_.reset();
    memory_ = Allocation();
    memory_ = Allocation(backend_, peak);
    arena_ = std::make_unique<Arena>(memory_.buffer());
  }
}

Session::Plan& Session::plan(std::int64_t batch) {
  const auto known =
      std::find_if(plans_.begin(), plans_.end(), [&](const Plan& plan) { return plan.batch == batch; });
  if (known != plans_.end()) return *known;
  logits_ = input_ = {};
  const std::size_t peak = measured_peak(batch);
  try {
    make_room(batch, peak);
  } catch (const OutOfMemory& error) {
    const auto image_bytes = [&](std::int64_t images) {
      return static_cast<std::size_t>(model_.input_shape(images).elements()) *
             bytes_of(wide_of(options_.dtype));
    };
    const std::size_t room = error.free + arena_bytes() + (images_.buffer() ? images_.buffer()->bytes : 0);
    release_memory();
    plans_.clear();
    std::int64_t fits = 0;
    for (std::int64_t too_many = batch; too_many - fits > 1;) {
      const std::int64_t middle = fits + (too_many - fits) / 2;
      (image_bytes(middle) + measured_peak(middle) <= room ? fits : too_many) = middle;
    }
    throw RunError(fmt::format("{}; {} images at a time are too many, {}", error.what(), batch,
                               fits > 0 ? fmt::format("{} would fit", fits) : "not even one fits"));
  }
  return plans_.emplace_back(Plan{.batch = batch});
}

bool Session::load(const float* images, std::int64_t batch) {
  plan(batch);
  loaded_ = batch;
  upload_pixels(backend_, images_.view().slice(0, 0, batch), images);
  return std::exchange(moved_, false);
}

View Session::forward_loaded() {
  logits_ = input_ = {};
  pass_.start(*arena_, {});
  pass_.training() ? weights_.make() : weights_.make_if_new();
  input_ = pass_.as_activations(images_.view().slice(0, 0, loaded_));
  logits_ = model_.forward(pass_, input_);
  forwarded_ = loaded_;
  return logits_;
}

View Session::forward(const float* images, std::int64_t batch) {
  load(images, batch);
  if (pass_.training()) return forward_loaded();
  Plan& known = plan(batch);
  known.forward.run(backend_, [&] { known.logits = forward_loaded(); });
  return known.logits;
}

void Session::backward(const View& d_logits) {
  check(pass_.training() && forwarded_ >= 0, "backward without a forward in training mode");
  forwarded_ = -1;
  logits_ = {};
  model_.backward(pass_, d_logits);
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
