#include "core/base/random.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>
#include <vector>

namespace vretnet {
namespace {

std::vector<std::uint64_t> first_numbers(Random random) {
  std::vector<std::uint64_t> numbers(8);
  for (std::uint64_t& number : numbers) number = random.next();
  return numbers;
}

TEST(Random, IsAFunctionOfSeedAndPath) {
  EXPECT_EQ(first_numbers(Random(1, {2, 3})), first_numbers(Random(1, {2, 3})));
  std::set<std::vector<std::uint64_t>> streams;
  for (const Random& random : {Random(1), Random(2), Random(1, {0}), Random(1, {1}), Random(1, {2, 3}),
                               Random(1, {3, 2}), Random(1, {2, 3, 0})}) {
    streams.insert(first_numbers(random));
  }
  EXPECT_EQ(streams.size(), 7u);
}

// Checkpoints and augmentations rest on these very numbers: they must not change from build to build.
TEST(Random, GivesTheNumbersOfSplitmix64) {
  // The published outputs of splitmix64 from the state 1234567.
  std::uint64_t state = 1234567;
  const auto next = [&] { return mix64(state += 0x9E3779B97F4A7C15ull); };
  EXPECT_EQ(next(), 6457827717110365317ull);
  EXPECT_EQ(next(), 3203168211198807973ull);
  EXPECT_EQ(next(), 9817491932198370423ull);
}

TEST(Random, UniformStaysInItsHalfOpenRange) {
  Random random(5);
  double sum = 0;
  for (int i = 0; i < 10000; ++i) {
    const double value = random.uniform(-2, 3);
    ASSERT_GE(value, -2);
    ASSERT_LT(value, 3);
    sum += value;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 4 * 5 / std::sqrt(12 * 10000.0));
}

TEST(Random, BelowIsUnbiased) {
  Random random(6);
  std::array<int, 7> counts{};
  for (int i = 0; i < 7000; ++i) ++counts[random.below(7)];
  double chi_squared = 0;
  for (int count : counts) chi_squared += (count - 1000.0) * (count - 1000.0) / 1000;
  EXPECT_LT(chi_squared, 22.5);  // 6 degrees of freedom, 0.1 %
  EXPECT_EQ(random.below(1), 0u);
}

TEST(Random, NormalHasItsMoments) {
  Random random(7);
  double sum = 0, sum_of_squares = 0;
  constexpr int kCount = 20000;
  for (int i = 0; i < kCount; ++i) {
    const double value = random.normal();
    sum += value;
    sum_of_squares += value * value;
    ASSERT_LE(std::abs(random.truncated_normal()), 2);
  }
  EXPECT_NEAR(sum / kCount, 0, 4 / std::sqrt(kCount));
  EXPECT_NEAR(sum_of_squares / kCount, 1, 4 * std::sqrt(2.0 / kCount));
}

}  // namespace
}  // namespace vretnet
