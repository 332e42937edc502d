#include "core/training/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace vretnet::training {
namespace {

std::vector<float> logs(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double probability : probabilities) logits.push_back(float(std::log(probability) + 3));
  return logits;
}

TEST(Metrics, RankBreaksTiesByClass) {
  const std::vector<float> scores{1, 2, 2, 0, 2, 5};
  EXPECT_EQ(rank_of(scores, 5), 0);
  EXPECT_EQ(rank_of(scores, 1), 1);
  EXPECT_EQ(rank_of(scores, 2), 2);
  EXPECT_EQ(rank_of(scores, 4), 3);
  EXPECT_EQ(rank_of(scores, 0), 4);
  EXPECT_EQ(rank_of(scores, 3), 5);
}

TEST(Metrics, TopFiveWithTies) {
  Evaluator evaluator(7);
  const std::vector<float> equal(7,
                                 1.0f);  // only classes 0 … 4 are among the first five, only 0 is the first
  for (int label = 0; label < 7; ++label) evaluator.add(label, label, equal);
  const Evaluation evaluation = evaluator.finish();
  EXPECT_DOUBLE_EQ(evaluation.top1, 1.0 / 7);
  EXPECT_DOUBLE_EQ(evaluation.top5, 5.0 / 7);
  EXPECT_NEAR(evaluation.loss, std::log(7), 1e-12);
  for (int label = 0; label < 7; ++label) EXPECT_EQ(evaluation.confusion[std::size_t(label)][0], 1);
}

TEST(Metrics, SoftmaxOfLargeNumbers) {
  const std::vector<double> probabilities = softmax(std::vector<float>{1000, 1000, -1000});
  EXPECT_DOUBLE_EQ(probabilities[0], 0.5);
  EXPECT_DOUBLE_EQ(probabilities[1], 0.5);
  EXPECT_DOUBLE_EQ(probabilities[2], 0);
}

TEST(Metrics, LossStaysFiniteWhereTheProbabilityRoundsToNought) {
  Evaluator evaluator(2);
  evaluator.add(0, 1, std::vector<float>{2000, 0});
  EXPECT_DOUBLE_EQ(evaluator.finish().loss, 2000);
}

// Four predictions of three classes, everything by hand:
//   label predicted probability
//   0     0         0.6        right
//   0     1         0.6        wrong
//   1     1         0.9        right
//   2     1         0.5        wrong
TEST(Metrics, ByHand) {
  Evaluator evaluator(3);
  evaluator.add(10, 0, logs({0.6, 0.3, 0.1}));
  evaluator.add(11, 0, logs({0.3, 0.6, 0.1}));
  evaluator.add(12, 1, logs({0.05, 0.9, 0.05}));
  evaluator.add(13, 2, logs({0.2, 0.5, 0.3}));
  const Evaluation evaluation = evaluator.finish();
  EXPECT_EQ(evaluation.images, 4);
  EXPECT_DOUBLE_EQ(evaluation.top1, 0.5);
  EXPECT_DOUBLE_EQ(evaluation.top5, 1);
  EXPECT_NEAR(evaluation.loss, -(std::log(0.6) + std::log(0.3) + std::log(0.9) + std::log(0.3)) / 4, 1e-6);
  EXPECT_EQ(evaluation.confusion, (std::vector<std::vector<std::int64_t>>{{1, 1, 0}, {0, 1, 0}, {0, 1, 0}}));

  EXPECT_EQ(evaluation.classes[0].images, 2);
  EXPECT_DOUBLE_EQ(evaluation.classes[0].precision, 1);
  EXPECT_DOUBLE_EQ(evaluation.classes[0].recall, 0.5);
  EXPECT_DOUBLE_EQ(evaluation.classes[0].f1, 2.0 / 3);
  EXPECT_EQ(evaluation.classes[1].images, 1);
  EXPECT_DOUBLE_EQ(evaluation.classes[1].precision, 1.0 / 3);
  EXPECT_DOUBLE_EQ(evaluation.classes[1].recall, 1);
  EXPECT_DOUBLE_EQ(evaluation.classes[1].f1, 0.5);
  EXPECT_EQ(evaluation.classes[2].images, 1);
  EXPECT_DOUBLE_EQ(evaluation.classes[2].precision, 0);  // never predicted
  EXPECT_DOUBLE_EQ(evaluation.classes[2].recall, 0);
  EXPECT_DOUBLE_EQ(evaluation.classes[2].f1, 0);

  ASSERT_EQ(evaluation.predictions.size(), 4u);
  const Prediction& second = evaluation.predictions[1];
  EXPECT_EQ(second.index, 11);
  EXPECT_EQ(second.label, 0);
  EXPECT_EQ(second.predicted, 1);
  EXPECT_NEAR(second.probability, 0.6, 1e-6);
  EXPECT_NEAR(second.label_probability, 0.3, 1e-6);
  EXPECT_NEAR(second.loss, -std::log(0.3), 1e-6);
}

// Fifteen bins of 1/15. Two predictions of 0.62 (bin 9), one right: |1 − 1.24|; one of 0.95 (bin 14), right:
// |1 − 0.95|; one of 0.5 (bin 7), wrong: 0.5. The sum over the four images.
TEST(Metrics, CalibrationByHand) {
  Evaluator evaluator(2);
  evaluator.add(0, 0, logs({0.62, 0.38}));
  evaluator.add(1, 1, logs({0.62, 0.38}));
  evaluator.add(2, 1, logs({0.05, 0.95}));
  evaluator.add(3, 1, logs({0.5, 0.5}));
  EXPECT_NEAR(evaluator.finish().ece, (0.24 + 0.05 + 0.5) / 4, 1e-6);
}

TEST(Metrics, ACertainAnswerIsInTheLastBin) {
  Evaluator evaluator(2);
  evaluator.add(0, 0, std::vector<float>{100, 0});  // probability 1
  EXPECT_NEAR(evaluator.finish().ece, 0, 1e-12);
}

TEST(Metrics, AModelThatDivergedIsNoCrash) {
  Evaluator evaluator(2);
  evaluator.add(0, 0, std::vector<float>{NAN, NAN});
  evaluator.add(1, 1, std::vector<float>{INFINITY, 0});
  const Evaluation evaluation = evaluator.finish();
  EXPECT_EQ(evaluation.images, 2);
  EXPECT_TRUE(std::isnan(evaluation.loss));
}

TEST(Metrics, TemperatureDividesTheLogits) {
  Evaluator plain(3), warm(3, {.temperature = 4, .keep_logits = true});
  const std::vector<float> logits{8, -4, 2}, quarter{2, -1, 0.5};
  plain.add(0, 2, quarter);
  warm.add(0, 2, logits);
  EXPECT_EQ(plain.finish().loss, warm.finish().loss);
  EXPECT_EQ(plain.finish().predictions[0].probability, warm.finish().predictions[0].probability);
  EXPECT_EQ(warm.finish().logits, logits) << "as the model gave them";
  EXPECT_TRUE(plain.finish().logits.empty());
}

// Answers of logits (a, 0) of which three of four are right are calibrated where softmax(a / T) = 3/4.
TEST(Metrics, TheBestTemperatureMakesConfidenceTheShareOfRightAnswers) {
  for (const float a : {0.3f, 2.0f, 30.0f}) {
    Evaluator evaluator(2, {.keep_logits = true});
    for (int i = 0; i < 8; ++i) evaluator.add(i, i % 4 == 0, std::vector<float>{a, 0});
    const double temperature = best_temperature(evaluator.finish());
    EXPECT_NEAR(temperature, a / std::log(3), 1e-4 * temperature);
    Evaluator again(2, {.temperature = temperature});
    for (int i = 0; i < 8; ++i) again.add(i, i % 4 == 0, std::vector<float>{a, 0});
    EXPECT_NEAR(again.finish().ece, 0, 1e-4);
  }
}

TEST(Metrics, NothingSeen) {
  const Evaluation evaluation = Evaluator(3).finish();
  EXPECT_EQ(evaluation.images, 0);
  EXPECT_EQ(evaluation.top1, 0);
  EXPECT_EQ(evaluation.ece, 0);
  EXPECT_EQ(evaluation.classes.size(), 3u);
}

}  // namespace
}  // namespace vretnet::training
