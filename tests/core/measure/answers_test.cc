// Answers with a known truth in, intervals that hold it as often as they say out.
#include "core/measure/answers.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/random.h"

namespace vretnet::measure {
namespace {

// `runs` runs over `images` images. An image is as hard for all (they share its draw), a run better or worse
// than `share` by `seed_deviation`.
Answers drawn_answers(double share, int runs, int images, double seed_deviation, std::uint64_t seed,
                      std::uint64_t images_seed) {
  Answers answers;
  for (int run = 0; run < runs; ++run) {
    Random of_run(seed, {std::uint64_t(run)});
    const double own = share + seed_deviation * of_run.normal();
    std::vector<std::int8_t> right;
    Random of_images(images_seed);
    for (int image = 0; image < images; ++image) {
      const double hardness = of_images.uniform(), luck = of_run.uniform();
      right.push_back(0.8 * hardness + 0.2 * luck < own);
    }
    answers.push_back(right);
  }
  return answers;
}

TEST(Answers, MeansOfRuns) {
  EXPECT_EQ(means_of_runs({{1, 0, 1, 1}, {0, 0, 1, 0}}), (std::vector<double>{0.75, 0.25}));
  EXPECT_EQ(means_of_runs({{-1, 0, 1, -1}}), (std::vector<double>{-0.25}));
}

// t(0.975) with 2 degrees of freedom is 4.302653, s = 0.25, √3 runs.
TEST(Answers, SeveralRunsHaveStudentsInterval) {
  const Estimate mean = mean_answer({{1, 0, 0, 0}, {1, 1, 0, 0}, {1, 1, 1, 0}});
  EXPECT_DOUBLE_EQ(mean.value, 0.5);
  EXPECT_NEAR(mean.high - mean.value, 4.302653 * 0.25 / std::sqrt(3.0), 1e-6);
  EXPECT_NEAR(mean.value - mean.low, 4.302653 * 0.25 / std::sqrt(3.0), 1e-6);
}

// One run's interval is that of a share of images: 1.96 · √(p(1 − p)/n), to what 10,000 draws can tell.
TEST(Answers, OneRunHasTheImagesInterval) {
  std::vector<std::int8_t> right(2000, 0);
  std::fill_n(right.begin(), 1600, 1);
  const Estimate mean = mean_answer({right});
  const double reach = 1.96 * std::sqrt(0.8 * 0.2 / 2000);
  EXPECT_DOUBLE_EQ(mean.value, 0.8);
  EXPECT_NEAR(mean.high - mean.value, reach, 0.05 * reach);
  EXPECT_NEAR(mean.value - mean.low, reach, 0.05 * reach);
  const Estimate again = mean_answer({right});
  EXPECT_EQ(again.low, mean.low) << "the generator's seed is fixed";
  EXPECT_EQ(again.high, mean.high);
}

TEST(Answers, EqualAnswersDoNotDiffer) {
  const Answers answers = drawn_answers(0.7, 3, 500, 0.02, 1, 2);
  const Estimate difference = mean_difference(answers, answers, true);
  EXPECT_EQ(difference.value, 0);
  EXPECT_EQ(difference.low, 0);
  EXPECT_EQ(difference.high, 0);
  EXPECT_LT(mean_difference(answers, answers, false).low, 0) << "unpaired runs scatter";
}

// Pairs of images: of 1,000 the first is right alone on b and the second alone on c, and the variance of
// their difference is that of McNemar's test: (b + c − (b − c)²/n)/n².
TEST(Answers, PairedImagesHaveMcNemarsVariance) {
  const int n = 1000, b = 60, c = 30, both = 700;
  std::vector<std::int8_t> first(n, 0), second(n, 0);
  std::fill_n(first.begin(), both + b, 1);
  std::fill_n(second.begin(), both, 1);
  std::fill_n(second.begin() + both + b, c, 1);
  const Estimate difference = mean_difference({first}, {second}, true);
  const double reach = 1.96 * std::sqrt(b + c - double((b - c) * (b - c)) / n) / n;
  EXPECT_NEAR(difference.value, 0.03, 1e-12);
  EXPECT_NEAR(difference.high - difference.value, reach, 0.06 * reach);
  EXPECT_NEAR(difference.value - difference.low, reach, 0.06 * reach);
  EXPECT_TRUE(difference.above(0));
  EXPECT_TRUE(mean_difference({second}, {first}, true).below(0));
}

// The scatter of seeds counts: two runs a side that differ among themselves by as much as the sides do.
TEST(Answers, RunsAreResampled) {
  std::vector<std::int8_t> good(1000, 1), bad(1000, 1), middle(1000, 1);
  std::fill_n(bad.begin(), 200, 0);
  std::fill_n(middle.begin(), 120, 0);
  const Estimate scattered = mean_difference({good, bad}, {middle, middle}, true);
  EXPECT_NEAR(scattered.value, 0.02, 1e-12);
  EXPECT_LT(scattered.low, -0.05) << "both draws may be the bad run";
  EXPECT_GT(scattered.high, 0.1) << "or the good one";
  // As pairs by seed both differences are the same, so seeds add nothing.
  const Estimate paired = mean_difference({good, middle}, {middle, bad}, true);
  const Estimate unpaired = mean_difference({good, middle}, {middle, bad}, false);
  EXPECT_GT(paired.low, 0.05);
  EXPECT_LT(unpaired.low, 0.02);
}

// Of many pairs of models of equal worth few may seem to differ, and a true difference is held: a bootstrap
// that drew its images apart, or forgot one of the sides, leaves these bounds.
TEST(Answers, IntervalsHoldTheTrueDifference) {
  constexpr int kPairs = 60, kRuns = 6;
  int held = 0, of_more_runs = 0;
  double width = 0;
  for (std::uint64_t pair = 0; pair < kPairs; ++pair) {
    const auto answers = [&](int runs, double deviation, std::uint64_t side) {
      return drawn_answers(0.7, runs, 400, deviation, 3 * pair + side, 3 * pair + 2);
    };
    const Estimate one = mean_difference(answers(1, 0, 0), answers(1, 0, 1), true);
    held += one.low <= 0 && 0 <= one.high;
    width += (one.high - one.low) / kPairs;
    const Estimate more = mean_difference(answers(kRuns, 0.03, 0), answers(kRuns, 0.03, 1), false);
    of_more_runs += more.low <= 0 && 0 <= more.high;
  }
  EXPECT_GE(held, 51);
  EXPECT_GE(of_more_runs, 48) << "six runs make it a little too narrow";
  EXPECT_LT(width, 0.7 * 2 * 1.96 * std::sqrt(2 * 0.7 * 0.3 / 400)) << "narrower than without pairs";
  EXPECT_GT(width, 0.02);
}

}  // namespace
}  // namespace vretnet::measure
