// Test-time augmentation: an image and its mirror, averaged.
#include "core/training/predictor.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/training/evaluate.h"
#include "core/training/metrics.h"
#include "tests/core/training/support.h"

namespace vretnet::training {
namespace {

TEST(Predictor, MirrorsColumnsOnly) {
  // [2, 1, 3, 2]
  const std::vector<float> images = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  std::vector<float> out(12);
  mirror_images(images.data(), 2, 1, 3, 2, out.data());
  EXPECT_EQ(out, (std::vector<float>{4, 5, 2, 3, 0, 1, 10, 11, 8, 9, 6, 7}));
}

TEST(Predictor, AveragesProbabilitiesEvenFarApart) {
  std::vector<float> logits = {0, 0, 0, 1000, 0, -1000};
  const std::vector<float> other = {std::log(2.0f), std::log(3.0f), std::log(5.0f), -1000, 0, 1000};
  average_probabilities(logits, other, 3);
  const std::vector<double> first = softmax(std::span<const float>(logits).first(3));
  for (int c = 0; c < 3; ++c)
    EXPECT_NEAR(first[std::size_t(c)], (1.0 / 3 + (c == 0 ? 0.2 : c == 1 ? 0.3 : 0.5)) / 2, 1e-6);
  const std::vector<double> second = softmax(std::span<const float>(logits).last(3));
  EXPECT_NEAR(second[0], 0.5, 1e-6);
  EXPECT_NEAR(second[2], 0.5, 1e-6);
  for (const float value : logits) EXPECT_TRUE(std::isfinite(value));
}

TEST(Predictor, EvaluatesTheMeanOfAnImageAndItsMirror) {
  TinyRun run({});
  const Batch batch = [&] {
    run.source.start_epoch(0, 0);
    return *run.source.next();
  }();
  std::vector<float> mirrored(std::size_t(batch.count * kPixels));
  mirror_images(batch.images, batch.count, 8, 12, 1, mirrored.data());
  const auto probabilities = [&](const float* images, TestTimeAugmentation augmentation) {
    Predictor predictor(*run.model, *run.backend, run.trainer.weights(), {}, augmentation);
    const std::span<const float> logits = predictor.logits(images, batch.count);
    std::vector<double> all;
    for (std::int64_t i = 0; i < batch.count; ++i) {
      const std::vector<double> row = softmax(logits.subspan(std::size_t(i * kClasses), kClasses));
      all.insert(all.end(), row.begin(), row.end());
    }
    return all;
  };
  const auto plain = probabilities(batch.images, TestTimeAugmentation::None);
  const auto mirror = probabilities(mirrored.data(), TestTimeAugmentation::None);
  const auto both = probabilities(batch.images, TestTimeAugmentation::HorizontalFlip);
  double moved = 0;
  for (std::size_t i = 0; i < both.size(); ++i) {
    EXPECT_NEAR(both[i], (plain[i] + mirror[i]) / 2, 1e-6);
    moved = std::max(moved, std::abs(both[i] - plain[i]));
  }
  EXPECT_GT(moved, 1e-4) << "the model does not tell an image from its mirror";

  const Evaluation evaluation = evaluate(*run.model, *run.backend, run.trainer.weights(), {}, run.source, {},
                                         {}, TestTimeAugmentation::HorizontalFlip);
  EXPECT_NEAR(evaluation.predictions[0].label_probability, both[std::size_t(batch.labels[0])], 1e-6);
  EXPECT_NEAR(evaluation.predictions[0].loss, -std::log(both[std::size_t(batch.labels[0])]), 1e-5);
}

}  // namespace
}  // namespace vretnet::training
