#include "vision/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/base/ensure.h"
#include "core/base/error.h"
#include "vision/image/resize.h"

namespace vretnet::vision {
namespace {

using Matrix = std::vector<double>;  // [tokens, tokens], row-major

// A strided view of the machine as numbers of the host.
std::vector<float> numbers_of(Backend& backend, const View& view) {
  std::vector<float> numbers(static_cast<std::size_t>(view.elements()));
  const Allocation packed(backend, DType::f32, view.shape());
  backend.run(ops::Convert{.x = view, .y = packed.view()});
  backend.download(packed.view(), numbers.data());
  return numbers;
}

// Multiplies the layers' matrices of one image as they pass.
class Rollout : public layers::RetentionObserver {
 public:
  Rollout(Backend& backend, std::int64_t rows, std::int64_t columns, std::int64_t heads)
      : backend_(backend), rows_(rows), columns_(columns), tokens_(rows * columns), heads_(heads) {
    clear();
  }

  void saw(const ops::RetentionBlock& block, const layers::ScanOrder& order) override {
    add_heads(block, order);
    heads_seen_ += block.q.extent(2);
    if (heads_seen_ < heads_) return;
    close_layer();
  }
  Matrix take() {
    Matrix result = std::move(product_);
    clear();
    return result;
  }

 private:
  void clear() {
    layer_.assign(static_cast<std::size_t>(tokens_ * tokens_), 0.0);
    product_ = layer_;
    for (std::int64_t n = 0; n < tokens_; ++n) product_[static_cast<std::size_t>(n * tokens_ + n)] = 1;
    heads_seen_ = 0;
  }

  // The image's token (in raster order) that stands at place n of an order.
  std::int64_t token_at(const layers::ScanOrder& order, std::int64_t n) const {
    if (order.backwards) n = tokens_ - 1 - n;
    return order.by_columns ? n % rows_ * columns_ + n / rows_ : n;
  }

  void add_heads(const ops::RetentionBlock& block, const layers::ScanOrder& order) {
    const std::int64_t heads = block.q.extent(2), width = block.q.extent(3);
    const std::vector<float> q = turned(block.q, block), k = turned(block.k, block);
    const std::vector<float> mask = numbers_of(backend_, block.tables.mask);  // [heads, tokens, tokens]
    std::vector<double> weights(static_cast<std::size_t>(tokens_));
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t n = 0; n < tokens_; ++n) {
        double sum = 0;
        for (std::int64_t m = 0; m < tokens_; ++m) {
          const float *q_n = q.data() + (n * heads + h) * width, *k_m = k.data() + (m * heads + h) * width;
          double score = 0;
          for (std::int64_t i = 0; i < width; ++i) score += static_cast<double>(q_n[i]) * k_m[i];
          weights[static_cast<std::size_t>(m)] =
              std::abs(score) *
              static_cast<double>(mask[static_cast<std::size_t>((h * tokens_ + n) * tokens_ + m)]);
          sum += weights[static_cast<std::size_t>(m)];
        }
        if (sum == 0) continue;
        double* row = layer_.data() + token_at(order, n) * tokens_;
        for (std::int64_t m = 0; m < tokens_; ++m) {
          row[token_at(order, m)] +=
              weights[static_cast<std::size_t>(m)] / (sum * static_cast<double>(heads_));
        }
      }
    }
  }

  // q or k as the scores see them: rotated by position. [tokens, heads, width]
  std::vector<float> turned(const View& x, const ops::RetentionBlock& block) {
    if (!block.cosine) return numbers_of(backend_, x);
    const Allocation turned(backend_, DType::f32, x.shape());
    backend_.run(ops::Rotate{.x = x, .cosine = block.cosine, .sine = block.sine, .y = turned.view()});
    return numbers_of(backend_, turned.view());
  }

  void close_layer() {
    Matrix next(product_.size(), 0.0);
    for (std::int64_t n = 0; n < tokens_; ++n) {
      double* to = next.data() + n * tokens_;
      for (std::int64_t m = 0; m < tokens_; ++m) {
        const double weight = 0.5 * (layer_[static_cast<std::size_t>(n * tokens_ + m)] + (n == m ? 1 : 0));
        const double* from = product_.data() + m * tokens_;
        for (std::int64_t i = 0; i < tokens_; ++i) to[i] += weight * from[i];
      }
    }
    product_ = std::move(next);
    std::fill(layer_.begin(), layer_.end(), 0.0);
    heads_seen_ = 0;
  }

  Backend& backend_;
  std::int64_t rows_, columns_, tokens_, heads_, heads_seen_ = 0;
  Matrix layer_, product_;
};

HeatMap normalized(std::int64_t rows, std::int64_t columns, std::vector<double> values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  if (largest > 0) {
    for (double& value : values) value /= largest;
  }
  return {rows, columns, std::move(values)};
}

}  // namespace

Explainer::Explainer(const Classifier& classifier, Backend& backend, const View& weights, Explanation kind)
    : config_(classifier.model->config()),
      model_(*classifier.model),
      backend_(backend),
      kind_(kind),
      gradients_(backend, DType::f32, {model_.parameters().elements()}),
      images_(backend, DType::f32, model_.input_shape(1)),
      d_logits_(backend, DType::f32, {1, config_.classes}),
      tables_(backend, DType::f32),
      pass_(backend, model_.parameters(), tables_, weights, gradients_.view(),
            {.mode = layers::Mode::training,  // the parallel form's mask is a matrix of all tokens
             .form = kind == Explanation::rollout ? layers::FormChoice::parallel
                                                  : layers::FormChoice::automatic}) {
  if (kind == Explanation::rollout && config_.mixer != MixerKind::retention) {
    throw UsageError(fmt::format("{} has no retention to roll out, expected the gradient", config_.name));
  }
  Arena measured;
  {
    pass_.start(measured, {}, /*measuring=*/true);
    const Tensor logits = model_.classify(pass_, model_.embed(pass_, images_.view()));
    model_.backward_to_tokens(pass_, Tensor(d_logits_.view()));
    while (pass_.saved() > 0) pass_.take();
  }
  memory_ = Allocation(backend, measured.peak_bytes());
  arena_ = std::make_unique<Arena>(memory_.buffer());
  logits_.resize(static_cast<std::size_t>(config_.classes));
}

void Explainer::look_at(const float* pixels) {
  backend_.upload(images_.view(), pixels);
  Rollout rollout(backend_, config_.rows(), config_.columns(), config_.heads);
  if (kind_ == Explanation::rollout) pass_.observe(&rollout);
  pass_.start(*arena_, {});
  const Tensor logits = model_.forward(pass_, images_.view());
  backend_.download(logits, logits_.data());
  pass_.observe(nullptr);
  if (kind_ == Explanation::rollout) rollout_ = rollout.take();
}

HeatMap Explainer::gradient_map(std::int64_t of_class) {
  pass_.start(*arena_, {});
  Tensor tokens = model_.embed(pass_, images_.view());
  const std::vector<float> token = numbers_of(backend_, tokens);
  const Tensor logits = model_.classify(pass_, std::move(tokens));
  std::vector<float> direction(static_cast<std::size_t>(config_.classes), 0.0f);
  direction[static_cast<std::size_t>(of_class)] = 1;
  backend_.upload(d_logits_.view(), direction.data());
  const std::vector<float> slope =
      numbers_of(backend_, model_.backward_to_tokens(pass_, Tensor(d_logits_.view())));
  while (pass_.saved() > 0) pass_.take();
  std::vector<double> values(static_cast<std::size_t>(config_.rows() * config_.columns()), 0.0);
  const auto width = static_cast<std::size_t>(config_.width);
  for (std::size_t t = 0; t < values.size(); ++t) {
    for (std::size_t i = t * width; i < (t + 1) * width; ++i) {
      values[t] += static_cast<double>(token[i]) * static_cast<double>(slope[i]);
    }
  }
  return normalized(config_.rows(), config_.columns(), std::move(values));
}

HeatMap Explainer::explain(std::int64_t of_class) {
  ensure(of_class >= 0 && of_class < config_.classes, "class {} of {}", of_class, config_.classes);
  if (kind_ == Explanation::gradient) return gradient_map(of_class);
  // What the tokens that are pooled have read.
  const auto tokens = static_cast<std::size_t>(config_.rows() * config_.columns());
  std::vector<double> values(tokens, 0.0);
  for (std::size_t n = config_.pool == layers::Pool::last ? tokens - 1 : 0; n < tokens; ++n) {
    for (std::size_t m = 0; m < tokens; ++m) values[m] += rollout_[n * tokens + m];
  }
  return normalized(config_.rows(), config_.columns(), std::move(values));
}

Image overlay(const Image& picture, const HeatMap& map, int side) {
  const int shorter = std::min(picture.width, picture.height);
  const int factor = std::max(1, (side + shorter - 1) / shorter);
  const int width = picture.width * factor, height = picture.height * factor;
  // Magnitudes for and against, each smoothed as a grey picture.
  const auto magnitude = [&](double sign) {
    Image grey = make_image(static_cast<int>(map.columns), static_cast<int>(map.rows), 1);
    std::transform(map.values.begin(), map.values.end(), grey.pixels.begin(), [&](double value) {
      return static_cast<std::uint8_t>(std::lround(255 * std::max(0.0, sign * value)));
    });
    return resize(grey, width, height, Interpolation::Bilinear);
  };
  const Image support = magnitude(1), objection = magnitude(-1);
  const Image large = resize(picture, width, height, Interpolation::Bicubic);
  constexpr double kStrongest = 0.75;  // of the colour, where the map is 1
  Image out = make_image(width, height, 3);
  for (std::size_t pixel = 0; pixel < support.pixels.size(); ++pixel) {
    const double red = kStrongest * support.pixels[pixel] / 255,
                 blue = kStrongest * objection.pixels[pixel] / 255;
    const double keep = std::max(0.0, 1 - red - blue);
    for (std::size_t c = 0; c < 3; ++c) {
      const double value = large.pixels[pixel * large.channels + (large.channels == 3 ? c : 0)];
      const double colour = c == 0 ? 255 * red : c == 2 ? 255 * blue : 0;
      out.pixels[pixel * 3 + c] = static_cast<std::uint8_t>(std::lround(keep * value + colour));
    }
  }
  return out;
}

}  // namespace vretnet::vision
