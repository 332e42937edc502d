#include "core/training/predictor.h"

#include <algorithm>
#include <cmath>

namespace vretnet::training {
namespace {

layers::Pass::Options inference(layers::Pass::Options options) {
  options.mode = layers::Mode::inference;
  return options;
}

// log Σ exp, in double.
double log_sum(std::span<const float> values) {
  const double largest = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (const float value : values) sum += std::exp(value - largest);
  return largest + std::log(sum);
}

}  // namespace

void mirror_images(const float* images, std::int64_t count, std::int64_t height, std::int64_t width,
                   std::int64_t channels, float* out) {
  for (std::int64_t row = 0; row < count * height; ++row) {
    for (std::int64_t x = 0; x < width; ++x) {
      std::copy_n(images + (row * width + x) * channels, channels,
                  out + (row * width + width - 1 - x) * channels);
    }
  }
}

void average_probabilities(std::span<float> logits, std::span<const float> other, std::int64_t classes) {
  const auto width = static_cast<std::size_t>(classes);
  for (std::size_t begin = 0; begin < logits.size(); begin += width) {
    const std::span<float> a = logits.subspan(begin, width);
    const std::span<const float> b = other.subspan(begin, width);
    const double total_a = log_sum(a), total_b = log_sum(b);
    for (std::size_t c = 0; c < width; ++c) {
      const double log_a = a[c] - total_a, log_b = b[c] - total_b, larger = std::max(log_a, log_b);
      a[c] =
          static_cast<float>(larger + std::log1p(std::exp(std::min(log_a, log_b) - larger)) - std::log(2.0));
    }
  }
}

Predictor::Predictor(const model::Model& model, Backend& backend, const View& weights,
                     const layers::Pass::Options& options, TestTimeAugmentation augmentation)
    : model_(model),
      backend_(backend),
      augmentation_(augmentation),
      session_(model, backend, weights, View(), inference(options)) {}

template <class Pixels, class Mirrored>
std::span<const float> Predictor::answers(const Pixels& pixels, const Mirrored& mirrored,
                                          std::int64_t count) {
  const std::int64_t classes = model_.classes();
  logits_.resize(static_cast<std::size_t>(count * classes));
  backend_.download(session_.forward(pixels, count), logits_.data());
  if (augmentation_ == TestTimeAugmentation::HorizontalFlip) {
    other_logits_.resize(logits_.size());
    backend_.download(session_.forward(mirrored(), count), other_logits_.data());
    average_probabilities(logits_, other_logits_, classes);
  }
  return logits_;
}

std::span<const float> Predictor::logits(const float* images, std::int64_t count) {
  const auto mirrored = [&] {
    const Shape shape = model_.input_shape(count);
    mirrored_.resize(static_cast<std::size_t>(shape.elements()));
    mirror_images(images, count, shape[1], shape[2], shape[3], mirrored_.data());
    return static_cast<const float*>(mirrored_.data());
  };
  return answers(images, mirrored, count);
}

std::span<const float> Predictor::logits(const model::PixelRows& pixels, std::int64_t count) {
  const Shape shape = model_.input_shape(1);
  const model::PixelRows mirrored = [&](std::int64_t image, std::int64_t first_row, std::int64_t rows,
                                        float* out) {
    mirrored_.resize(static_cast<std::size_t>(rows * shape[2] * shape[3]));
    pixels(image, first_row, rows, mirrored_.data());
    mirror_images(mirrored_.data(), 1, rows, shape[2], shape[3], out);
  };
  return answers(
      pixels, [&] { return mirrored; }, count);
}

}  // namespace vretnet::training
