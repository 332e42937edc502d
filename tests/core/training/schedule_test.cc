#include "core/training/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

namespace vretnet::training {
namespace {

Schedule warmed() {
  return {.peak = 0.5, .minimum = 0.1, .warmup_start = 0.1, .warmup_steps = 4, .total_steps = 12};
}

TEST(Schedule, ClosedValues) {
  const Schedule schedule = warmed();
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 0), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 3), 0.4);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 4), 0.5);                               // cos 0
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 6), 0.1 + 0.2 * (1 + std::sqrt(0.5)));  // cos 45°
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 8), 0.3);                               // cos 90°
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 12), 0.1);                              // cos 180°
}

TEST(Schedule, StaysAtTheMinimumAfterTheEnd) {
  EXPECT_DOUBLE_EQ(learning_rate(warmed(), 13), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(warmed(), 1'000'000), 0.1);
}

TEST(Schedule, WithoutWarmUpItBeginsAtThePeak) {
  Schedule schedule = warmed();
  schedule.warmup_steps = 0;
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 0), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 6), 0.3);
}

TEST(Schedule, WarmUpAsLongAsTheRun) {
  Schedule schedule = warmed();
  schedule.warmup_steps = schedule.total_steps = 4;
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 3), 0.4);
  EXPECT_TRUE(std::isfinite(learning_rate(schedule, 4)));
}

TEST(Schedule, ConstantStaysAtThePeak) {
  Schedule schedule = warmed();
  schedule.constant = true;
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 4), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 11), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 12), 0.5);
}

TEST(Schedule, CoolDownIsAtTheMinimum) {
  Schedule schedule = warmed();
  schedule.cooldown = true;
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 8), 0.3);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 13), 0.1);
  schedule.constant = true;
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 11), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 12), 0.1);
}

}  // namespace
}  // namespace vretnet::training
