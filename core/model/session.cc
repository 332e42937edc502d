#include "core/model/session.h"

#include <algorithm>
#include <utility>

#include "core/base/check.h"
#include "core/base/error.h"
#include "core/model/weights.h"

namespace vretnet::model {
namespace {

// Host pixels into a backend's view of the same number of elements.
void upload_pixels(Backend& backend, const View& target, const float* pixels) {
  if (target.dtype() == DType::f32) return backend.upload(target, pixels);
  const std::vector<double> converted(pixels, pixels + target.elements());
  backend.upload(target, converted.data());
}

// A machine that records is a GPU: it wants all tokens at once.
bool passes_in_bands(const Model& model, const Backend& backend, const layers::Pass::Options& options) {
  if (options.mode != layers::Mode::inference || options.band_tokens == 0 || backend.records()) return false;
  const Shape shape = model.input_shape(1);
  const std::int64_t patch = model.patch_size();
  return (shape[1] / patch) * (shape[2] / patch) > 2 * options.band_tokens &&
         model.why_not_streamable().empty();
}

}  // namespace

Session::Session(const Model& model, Backend& backend, const View& weights, const View& gradients,
                 const layers::Pass::Options& options)
    : model_(model),
      backend_(backend),
      options_(options),
      tables_(backend, options.dtype),
      pass_(backend, model.parameters(), tables_, weights, gradients, options) {
  if (passes_in_bands(model, backend, options)) {
    bands_ = std::make_unique<Stream>(model, backend, weights, options, model.input_shape(1)[2]);
  }
}

std::size_t Session::arena_bytes() const {
  if (bands_) return bands_->arena_bytes();
  return memory_.buffer() ? memory_.buffer()->bytes : 0;
}

Session::Plan& Session::plan(std::int64_t batch) {
  const auto known =
      std::find_if(plans_.begin(), plans_.end(), [&](const Plan& plan) { return plan.batch == batch; });
  if (known != plans_.end()) return *known;
  logits_ = {};
  const auto forget_recordings = [&] {  // which hold the addresses of memory that is about to go
    for (Plan& plan : plans_) {
      plan.forward.reset();
      plan.backward.reset();
    }
  };
  if (!images_.view() || images_.view().extent(0) < batch) {
    forget_recordings();
    images_ = Allocation(backend_, options_.dtype, model_.input_shape(batch));
  }
  Arena measured;
  {
    const View images = images_.view().slice(0, 0, batch);
    pass_.start(measured, {}, /*measuring=*/true);
    Tensor logits = model_.forward(pass_, images);
    if (pass_.training()) model_.backward(pass_, std::move(logits));
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

template <class Rows>
View Session::forward_in_bands(std::int64_t batch, const Rows& rows) {
  if (!logits_of_images_.view() || logits_of_images_.view().extent(0) < batch) {
    logits_of_images_ = Allocation(backend_, options_.dtype, {batch, model_.classes()});
  }
  const View logits = logits_of_images_.view().slice(0, 0, batch);
  const std::int64_t patch = model_.patch_size(), height = model_.input_shape(1)[1] / patch;
  // Bands of equal height, give or take a row.
  const std::int64_t count = (height + bands_->band_rows() - 1) / bands_->band_rows();
  for (std::int64_t image = 0; image < batch; ++image) {
    bands_->restart();
    View last;
    for (std::int64_t band = 0; band < count; ++band) {
      const std::int64_t first = height * band / count, end = height * (band + 1) / count;
      last = bands_->push(rows(image, first * patch, (end - first) * patch), end - first);
    }
    backend_.run(ops::Convert{.x = last, .y = logits.slice(0, image, 1)});
  }
  return logits;
}

View Session::forward(const PixelRows& pixels, std::int64_t batch) {
  const Shape shape = model_.input_shape(batch);
  const std::int64_t row = shape[2] * shape[3];
  if (bands_) {
    return forward_in_bands(batch, [&](std::int64_t image, std::int64_t first_row, std::int64_t rows) {
      host_pixels_.resize(static_cast<std::size_t>(rows * row));
      pixels(image, first_row, rows, host_pixels_.data());
      return host_pixels_.data();
    });
  }
  host_pixels_.resize(static_cast<std::size_t>(shape.elements()));
  for (std::int64_t image = 0; image < batch; ++image) {
    pixels(image, 0, shape[1], host_pixels_.data() + image * shape[1] * row);
  }
  return forward(host_pixels_.data(), batch);
}

View Session::forward(const float* images, std::int64_t batch) {
  if (bands_) {
    const Shape shape = model_.input_shape(1);
    return forward_in_bands(batch, [&](std::int64_t image, std::int64_t first_row, std::int64_t /*rows*/) {
      return images + (image * shape[1] + first_row) * shape[2] * shape[3];
    });
  }
  Plan& known = plan(batch);
  const View input = images_.view().slice(0, 0, batch);
  upload_pixels(backend_, input, images);
  forwarded_ = batch;
  if (known.forward) {
    known.forward->replay();
    return known.logits;
  }
  logits_ = {};
  run_or_record(backend_.records() && known.ran, known.forward, [&] {
    pass_.start(*arena_, {});
    logits_ = model_.forward(pass_, input);
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

// ------------------------------------------------------------------------------------------------ stream

Stream::Stream(const Model& model, Backend& backend, const View& weights,
               const layers::Pass::Options& options, std::int64_t width)
    : model_(model),
      backend_(backend),
      options_(options),
      width_(width),
      channels_(model.input_shape(1)[3]),
      columns_(width / model.patch_size()),
      tables_(backend, options.dtype),
      pass_(backend, model.parameters(), tables_, weights, View(), options) {
  if (const std::string reason = model.why_not_streamable(); !reason.empty()) throw UsageError(reason);
  check(width > 0 && width % model.patch_size() == 0, "{} pixels are no whole number of patches of {}", width,
        model.patch_size());
}

std::int64_t Stream::band_rows() const {
  return std::max<std::int64_t>(1, options_.band_tokens / columns_);
}

Shape Stream::pixels_shape(std::int64_t patch_rows) const {
  return {1, patch_rows * model_.patch_size(), width_, channels_};
}

layers::Place Stream::place(std::int64_t patch_rows) const {
  return {patch_rows, columns_, rows_seen_ * columns_, /*streaming=*/true};
}

void Stream::plan(std::int64_t patch_rows) {
  const std::int64_t elements = pixels_shape(patch_rows).elements();
  if (!pixels_.view() || pixels_.view().elements() < elements) {
    pixels_ = Allocation();  // the old memory goes first
    pixels_ = Allocation(backend_, options_.dtype, {elements});
  }
  Arena measured;
  {
    pass_.start(measured, place(patch_rows), /*measuring=*/true, &state_);
    model_.forward(pass_, pixels_.view().slice(0, 0, elements).reshaped(pixels_shape(patch_rows)));
  }
  if (measured.peak_bytes() > arena_bytes()) {
    arena_.reset();
    memory_ = Allocation();
    memory_ = Allocation(backend_, measured.peak_bytes());
    arena_ = std::make_unique<Arena>(memory_.buffer());
  }
  planned_.push_back(patch_rows);
}

View Stream::push(const float* pixels, std::int64_t patch_rows) {
  check(patch_rows > 0, "{} rows", patch_rows);
  logits_ = {};
  if (std::find(planned_.begin(), planned_.end(), patch_rows) == planned_.end()) plan(patch_rows);
  const Shape shape = pixels_shape(patch_rows);
  const View input = pixels_.view().slice(0, 0, shape.elements()).reshaped(shape);
  upload_pixels(backend_, input, pixels);
  pass_.start(*arena_, place(patch_rows), /*measuring=*/false, &state_);
  logits_ = model_.forward(pass_, input);
  rows_seen_ += patch_rows;
  return logits_;
}

void Stream::restart() {
  state_.clear(backend_);
  rows_seen_ = 0;
}

}  // namespace vretnet::model
