// Known numbers in, known numbers out.
#include "core/measure/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/random.h"

namespace vretnet::measure {
namespace {

TEST(Statistics, QuantilesInterpolateAsNumpyDoes) {
  const std::vector<double> values{4, 1, 3, 2};
  EXPECT_DOUBLE_EQ(quantile(values, 0), 1);
  EXPECT_DOUBLE_EQ(quantile(values, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile(values, 0.9), 3.7);
  EXPECT_DOUBLE_EQ(quantile(values, 1), 4);
  EXPECT_DOUBLE_EQ(quantile({7}, 0.3), 7);
}

TEST(Statistics, SummaryOfKnownTimes) {
  const Summary summary = summarize({5, 1, 2, 3, 4});
  EXPECT_DOUBLE_EQ(summary.best, 1);
  EXPECT_DOUBLE_EQ(summary.median, 3);
  EXPECT_DOUBLE_EQ(summary.p90, 4.6);
  EXPECT_DOUBLE_EQ(summary.spread, 2.0 / 3);
}

// t(0.975) of 2 degrees of freedom is 4.302653, of 9 2.262157.
TEST(Statistics, StudentsIntervalOfTheMean) {
  const Estimate three = mean_by_students_t({1, 2, 3});
  EXPECT_DOUBLE_EQ(three.value, 2);
  EXPECT_NEAR(three.high, 2 + 4.302653 / std::sqrt(3.0), 1e-6);
  EXPECT_NEAR(three.low, 2 - 4.302653 / std::sqrt(3.0), 1e-6);
  const Estimate ten = mean_by_students_t({0, 0, 0, 0, 0, 1, 1, 1, 1, 1});
  EXPECT_NEAR(ten.high, 0.5 + 2.262157 * std::sqrt(2.5 / 9 / 10), 1e-6);
}

TEST(Statistics, RatioOfConstantsHasNoWidth) {
  const Estimate ratio = ratio_of_medians({2, 2, 2}, {3, 3, 3, 3});
  EXPECT_DOUBLE_EQ(ratio.value, 1.5);
  EXPECT_DOUBLE_EQ(ratio.low, 1.5);
  EXPECT_DOUBLE_EQ(ratio.high, 1.5);
  EXPECT_TRUE(ratio.above(1));
}

std::vector<double> noisy(double level, std::uint64_t seed, int count) {
  Random random(seed);
  std::vector<double> values;
  for (int i = 0; i < count; ++i) values.push_back(level * (1 + 0.1 * random.normal()));
  return values;
}

// Of many pairs of equal distributions about 5 % may seem to differ, and the true ratio lies in about 95 % of
// the intervals: a wrong tail, or draws from one side only, leaves these bounds.
TEST(Statistics, IntervalsHoldTheTrueRatio) {
  constexpr int kPairs = 200;
  int held = 0;
  double width = 0;
  for (int pair = 0; pair < kPairs; ++pair) {
    const auto seed = static_cast<std::uint64_t>(2 * pair);
    const Estimate ratio = ratio_of_medians(noisy(1, seed, 30), noisy(1.2, seed + 1, 30));
    held += ratio.low <= 1.2 && 1.2 <= ratio.high;
    width += (ratio.high - ratio.low) / kPairs;
    EXPECT_LE(ratio.low, ratio.value);
    EXPECT_GE(ratio.high, ratio.value);
  }
  EXPECT_GE(held, kPairs * 0.89);
  EXPECT_LE(held, kPairs * 0.995);
  EXPECT_GT(width, 0.05);
  EXPECT_LT(width, 0.25);
}

TEST(Statistics, MoreMeasurementsNarrowTheInterval) {
  const Estimate few = ratio_of_medians(noisy(1, 1, 8), noisy(1, 2, 8));
  const Estimate many = ratio_of_medians(noisy(1, 1, 400), noisy(1, 2, 400));
  EXPECT_LT(many.high - many.low, (few.high - few.low) / 2);
  EXPECT_FALSE(few.above(1) || few.below(1));
}

}  // namespace
}  // namespace vretnet::measure
