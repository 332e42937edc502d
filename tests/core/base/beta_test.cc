#include "core/base/beta.h"

#include <gtest/gtest.h>

#include <cmath>

namespace vretnet {
namespace {

// Mean a / (a + b), variance ab / ((a + b)² (a + b + 1)); the fourth central moment is at most the variance
// (of values within 0 … 1), which bounds how far the sampled variance strays.
TEST(Beta, HasItsMoments) {
  constexpr int kCount = 20000;
  for (const auto& [a, b] :
       {std::pair{0.2, 0.2}, {0.8, 0.8}, {1.0, 1.0}, {3.0, 3.0}, {2.0, 5.0}, {0.5, 4.0}}) {
    Random random(11);
    double sum = 0, squares = 0;
    const double mean = a / (a + b), variance = a * b / ((a + b) * (a + b) * (a + b + 1));
    for (int i = 0; i < kCount; ++i) {
      const double value = draw_beta(a, b, random);
      ASSERT_GE(value, 0);
      ASSERT_LE(value, 1);
      sum += value;
      squares += (value - mean) * (value - mean);
    }
    EXPECT_NEAR(sum / kCount, mean, 4.5 * std::sqrt(variance / kCount)) << a << ", " << b;
    EXPECT_NEAR(squares / kCount, variance, 4.5 * std::sqrt(variance / kCount)) << a << ", " << b;
  }
}

// Beta(1, 1) is uniform, Beta(½, ½) the arcsine law: P(X < t) = 2/π · asin √t.
TEST(Beta, HasItsDistribution) {
  constexpr int kCount = 20000;
  Random random(12);
  for (const double t : {0.01, 0.1, 0.5, 0.97}) {
    int uniform = 0, arcsine = 0;
    for (int i = 0; i < kCount; ++i) {
      uniform += draw_beta(1, 1, random) < t;
      arcsine += draw_beta(0.5, 0.5, random) < t;
    }
    const double law = 2 / std::acos(-1.0) * std::asin(std::sqrt(t));
    EXPECT_NEAR(uniform, kCount * t, 4.5 * std::sqrt(kCount * t * (1 - t)));
    EXPECT_NEAR(arcsine, kCount * law, 4.5 * std::sqrt(kCount * law * (1 - law)));
  }
}

// Both gammas underflow here: all that is left is a coin.
TEST(Beta, TinyParametersAreACoin) {
  Random random(13);
  int ones = 0;
  for (int i = 0; i < 2000; ++i) {
    const double value = draw_beta(1e-4, 1e-4, random);
    ASSERT_TRUE(std::isfinite(value));
    ones += value > 0.5;
  }
  EXPECT_NEAR(ones, 1000, 4.5 * std::sqrt(500.0));
}

}  // namespace
}  // namespace vretnet
