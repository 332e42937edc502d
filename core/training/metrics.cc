#include "core/training/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/base/ensure.h"

namespace vretnet::training {
namespace {

// −log softmax(logits / temperature)[label], finite even where the label's probability rounds to 0.
double cross_entropy(std::span<const float> logits, std::size_t label, double temperature) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp((logit - largest) / temperature);
  return (largest - logits[label]) / temperature + std::log(sum);
}

}  // namespace

std::int64_t rank_of(std::span<const float> scores, std::int64_t label) {
  const float own = scores[static_cast<std::size_t>(label)];
  std::int64_t rank = 0;
  for (std::int64_t c = 0; c < static_cast<std::int64_t>(scores.size()); ++c) {
    const float other = scores[static_cast<std::size_t>(c)];
    rank += other > own || (other == own && c < label);
  }
  return rank;
}

std::vector<double> softmax(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> probabilities;
  double sum = 0;
  for (float logit : logits) sum += probabilities.emplace_back(std::exp(logit - largest));
  for (double& probability : probabilities) probability /= sum;
  return probabilities;
}

double expected_calibration_error(std::span<const Prediction> predictions) {
  constexpr std::size_t kBins = 15;
  struct Bin {
    double probability = 0, correct = 0;
  };
  std::array<Bin, kBins> bins{};
  for (const Prediction& prediction : predictions) {
    const float place = prediction.probability * kBins;  // NaN where a model has diverged
    Bin& bin = bins[place > 0 ? std::min(kBins - 1, static_cast<std::size_t>(place)) : 0];
    bin.probability += prediction.probability;
    bin.correct += prediction.label == prediction.predicted;
  }
  double error = 0;
  for (const Bin& bin : bins) error += std::abs(bin.correct - bin.probability);
  return predictions.empty() ? 0 : error / static_cast<double>(predictions.size());
}

Evaluator::Evaluator(std::int64_t classes, const EvaluatorOptions& options) : options_(options) {
  const auto count = static_cast<std::size_t>(classes);
  sums_.confusion.assign(count, std::vector<std::int64_t>(count, 0));
  sums_.classes.resize(count);
}

void Evaluator::add(std::int64_t index, std::int64_t label, std::span<const float> raw) {
  if (options_.keep_logits) sums_.logits.insert(sums_.logits.end(), raw.begin(), raw.end());
  std::vector<float> logits(raw.begin(), raw.end());
  for (float& logit : logits) logit = static_cast<float>(logit / options_.temperature);
  const std::vector<double> probabilities = softmax(logits);
  const auto best = static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  const auto own = static_cast<std::size_t>(label);
  const double loss = cross_entropy(logits, own, 1);
  const std::int64_t rank = rank_of(logits, label);

  ++sums_.images;
  top1_ += rank == 0;
  top5_ += rank < 5;
  loss_ += loss;
  ++sums_.confusion[own][best];
  sums_.predictions.push_back({index, static_cast<std::int32_t>(label), static_cast<std::int32_t>(best),
                               static_cast<float>(probabilities[best]),
                               static_cast<float>(probabilities[own]), static_cast<float>(loss)});
}

Evaluation Evaluator::finish() const {
  Evaluation result = sums_;
  const auto ratio = [](double part, double whole) { return whole > 0 ? part / whole : 0.0; };
  const auto images = static_cast<double>(result.images);
  result.top1 = ratio(static_cast<double>(top1_), images);
  result.top5 = ratio(static_cast<double>(top5_), images);
  result.loss = ratio(loss_, images);

  result.ece = expected_calibration_error(result.predictions);
  for (std::size_t c = 0; c < result.classes.size(); ++c) {
    double actual = 0, predicted = 0;
    for (std::size_t other = 0; other < result.classes.size(); ++other) {
      actual += static_cast<double>(result.confusion[c][other]);
      predicted += static_cast<double>(result.confusion[other][c]);
    }
    const auto right = static_cast<double>(result.confusion[c][c]);
    ClassMetrics& metrics = result.classes[c];
    metrics.images = static_cast<std::int64_t>(actual);
    metrics.precision = ratio(right, predicted);
    metrics.recall = ratio(right, actual);
    metrics.f1 = ratio(2 * right, actual + predicted);
  }
  return result;
}

double best_temperature(const Evaluation& evaluation) {
  const std::size_t images = evaluation.predictions.size();
  ensure(images > 0 && evaluation.logits.size() % images == 0 && !evaluation.logits.empty(),
         "{} logits of {} images", evaluation.logits.size(), images);
  const std::size_t classes = evaluation.logits.size() / images;
  const auto loss = [&](double log_temperature) {
    double sum = 0;
    for (std::size_t i = 0; i < images; ++i) {
      sum +=
          cross_entropy({evaluation.logits.data() + i * classes, classes},
                        static_cast<std::size_t>(evaluation.predictions[i].label), std::exp(log_temperature));
    }
    return sum;
  };
  // The loss is convex in 1/T, so it has one valley: golden sections of log T.
  constexpr double kRange = 3.912, kPrecision = 1e-5;  // ln 50
  const double section = (std::sqrt(5.0) - 1) / 2;
  double low = -kRange, high = kRange;
  double left = high - section * (high - low), right = low + section * (high - low);
  double left_loss = loss(left), right_loss = loss(right);
  while (high - low > kPrecision) {
    if (left_loss < right_loss) {
      high = right;
      right = left;
      right_loss = left_loss;
      left = high - section * (high - low);
      left_loss = loss(left);
    } else {
      low = left;
      left = right;
      left_loss = right_loss;
      right = low + section * (high - low);
      right_loss = loss(right);
    }
  }
  return std::exp((low + high) / 2);
}

}  // namespace vretnet::training
