#include "core/model/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/base/ensure.h"
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

// A machine that records is a GPU: it wants all tokens at once.
bool infers_on_a_cpu(const Backend& backend, const layers::Pass::Options& options) {
  return options.mode == layers::Mode::inference && !backend.records();
}

bool passes_in_bands(const Model& model, const Backend& backend, const layers::Pass::Options& options) {
  if (!infers_on_a_cpu(backend, options) || options.band_tokens == 0) return false;
  const Shape shape = model.input_shape(1);
  const std::int64_t patch = model.patch_size();
  return (shape[1] / patch) * (shape[2] / patch) > 2 * options.band_tokens &&
         model.why_not_streamable().empty();
}

std::unique_ptr<Arena> make_arena(Backend& backend, const Buffer* memory,
                                  const layers::Pass::Options& options) {
  if (!options.poison_released) return std::make_unique<Arena>(memory);
  // All ones is a NaN in every float type: a block may come back as any of them.
  const auto poison = [&backend](const View& bytes) { backend.fill(bytes, -1); };
  poison(View(memory, DType::s8, {static_cast<std::int64_t>(memory->bytes)}));
  return std::make_unique<Arena>(memory, poison);
}

bool passes_in_pieces(const Backend& backend, const layers::Pass::Options& options) {
  return infers_on_a_cpu(backend, options) && options.piece_bytes > 0;
}

}  // namespace

WeightsCopy::WeightsCopy(Backend& backend, const View& weights, DType dtype)
    : backend_(backend), weights_(weights) {
  ensure(backend.runs_in(dtype), "{} does not run in {}", backend.name(), name_of(dtype));
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
      pass_(backend, model.parameters(), tables_, weights_.view(), gradients, options) {
  pass_.keep_wide_weights(weights);
  if (passes_in_bands(model, backend, options)) {
    bands_ = std::make_unique<Stream>(model, backend, weights, options, model.input_shape(1)[2]);
  }
}

std::size_t Session::arena_bytes() const {
  if (bands_) return bands_->arena_bytes();
  return memory_.buffer() ? memory_.buffer()->bytes : 0;
}

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
  ensure(pass_.saved() == 0, "{} tensors were saved and never taken", pass_.saved());
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
    arena_ = make_arena(backend_, memory_.buffer(), options_);
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

View Session::logits_of(std::int64_t batch) {
  if (!logits_of_images_.view() || logits_of_images_.view().extent(0) < batch) {
    logits_of_images_ = Allocation(backend_, wide_of(options_.dtype), {batch, model_.classes()});
  }
  return logits_of_images_.view().slice(0, 0, batch);
}

View Session::forward_in_pieces(const float* images, std::int64_t batch) {
  const View logits = logits_of(batch);
  const std::int64_t image_elements = model_.input_shape(1).elements();
  // Pieces of equal size, give or take an image; the larger ones plan the memory of all.
  const std::int64_t count = (batch + piece_images_ - 1) / piece_images_;
  plan((batch + count - 1) / count);
  for (std::int64_t piece = 0; piece < count; ++piece) {
    const std::int64_t first = batch * piece / count, end = batch * (piece + 1) / count;
    load(images + first * image_elements, end - first);
    backend_.run(ops::Convert{.x = forward_loaded(), .y = logits.slice(0, first, end - first)});
  }
  return logits;
}

template <class Rows>
View Session::forward_in_bands(std::int64_t batch, const Rows& rows) {
  const View logits = logits_of(batch);
  const std::int64_t patch = model_.patch_size(), height = model_.input_shape(1)[1] / patch;
  // Bands of equal height, give or take a row.
  const std::int64_t count = (height + bands_->band_rows() - 1) / bands_->band_rows();
  bands_->plan((height + count - 1) / count);
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
  if (batch > 1 && passes_in_pieces(backend_, options_)) {
    if (piece_images_ == 0) {
      // Tables and scratch memory do not grow with the images.
      const auto of_one = static_cast<std::int64_t>(measured_peak(1)),
                 of_two = static_cast<std::int64_t>(measured_peak(2));
      const std::int64_t each = of_two - of_one, fixed = of_one - each;
      piece_images_ = std::max<std::int64_t>(1, (options_.piece_bytes - fixed) / each);
    }
    if (batch > piece_images_) return forward_in_pieces(images, batch);
  }
  load(images, batch);
  if (pass_.training()) return forward_loaded();
  Plan& known = plan(batch);
  known.forward.run(backend_, [&] { known.logits = forward_loaded(); });
  return known.logits;
}

void Session::backward(const View& d_logits) {
  ensure(pass_.training() && forwarded_ >= 0, "backward without a forward in training mode");
  forwarded_ = -1;
  logits_ = {};
  model_.backward(pass_, d_logits);
  ensure(pass_.saved() == 0, "{} tensors were saved and never taken", pass_.saved());
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
      weights_(backend, weights, options.dtype),
      pass_(backend, model.parameters(), tables_, weights_.view(), View(), options) {
  pass_.keep_wide_weights(weights);
  if (const std::string reason = model.why_not_streamable(); !reason.empty()) throw UsageError(reason);
  ensure(width > 0 && width % model.patch_size() == 0, "{} pixels are no whole number of patches of {}",
         width, model.patch_size());
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
  if (std::find(planned_.begin(), planned_.end(), patch_rows) != planned_.end()) return;
  const std::int64_t elements = pixels_shape(patch_rows).elements();
  if (!pixels_.view() || pixels_.view().elements() < elements) {
    pixels_ = Allocation();  // the old memory goes first
    pixels_ = Allocation(backend_, wide_of(options_.dtype), {elements});
  }
  Arena measured;
  {
    pass_.start(measured, place(patch_rows), /*measuring=*/true, &state_);
    const Tensor input =
        pass_.as_activations(pixels_.view().slice(0, 0, elements).reshaped(pixels_shape(patch_rows)));
    model_.forward(pass_, input);
  }
  if (measured.peak_bytes() > arena_bytes()) {
    arena_.reset();
    memory_ = Allocation();
    memory_ = Allocation(backend_, measured.peak_bytes());
    arena_ = make_arena(backend_, memory_.buffer(), options_);
  }
  planned_.push_back(patch_rows);
}

View Stream::push(const float* pixels, std::int64_t patch_rows) {
  ensure(patch_rows > 0, "{} rows", patch_rows);
  logits_ = {};
  plan(patch_rows);
  const Shape shape = pixels_shape(patch_rows);
  const View all_pixels = pixels_.view().slice(0, 0, shape.elements()).reshaped(shape);
  upload_pixels(backend_, all_pixels, pixels);
  weights_.make_if_new();
  pass_.start(*arena_, place(patch_rows), /*measuring=*/false, &state_);
  const Tensor input = pass_.as_activations(all_pixels);
  logits_ = model_.forward(pass_, input);
  rows_seen_ += patch_rows;
  return logits_;
}

void Stream::restart() {
  state_.clear(backend_);
  rows_seen_ = 0;
}

}  // namespace vretnet::model
