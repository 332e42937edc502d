// Stochastic depth: which branches are left out, how often, and that nothing but the seed, the epoch and the
// image decides it.
#include "core/training/drop_path.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "core/ops/decorator.h"
#include "tests/core/training/support.h"
#include "vision/registry.h"

namespace vretnet::training {
namespace {

using Scales = std::vector<float>;

Scales scales_of(std::span<const double> rates, std::int64_t epoch, std::int64_t first_image,
                 std::int64_t count, std::uint64_t seed = 42) {
  Scales scales(rates.size() * std::size_t(count));
  fill_branch_scales(seed, rates, epoch, first_image, count, scales);
  return scales;
}

// timm's: torch.linspace(0, rate, depth), each for both branches of a block; the first block's are 0.
TEST(DropRates, RiseLinearlyWithDepth) {
  vision::ModelConfig config = vision::find_model_config("vretnet_pico_patch4_32_local");
  const auto rates = [&] { return drop_rates(0.3, vision::make_model(config)->branch_depths()); };
  const std::vector<double> expected = {0.1, 0.1, 0.2, 0.2, 0.3, 0.3};
  ASSERT_EQ(rates().size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(rates()[i], expected[i], 1e-15);
  config.depth = 2;
  EXPECT_EQ(rates(), (std::vector<double>{0.3, 0.3}));
  config.depth = 1;
  EXPECT_TRUE(rates().empty());
}

TEST(DropRates, OfOneOrMoreAreABug) {
  EXPECT_DEATH(drop_rates(1, std::vector<double>{1}), "a drop-path rate of 1");
  EXPECT_DEATH(drop_rates(-0.1, std::vector<double>{1}), "a drop-path rate of -0.1");
}

TEST(BranchScales, AreZeroAsOftenAsTheRateSaysAndOneInTheMean) {
  constexpr std::int64_t kImages = 20000;
  const std::vector<double> rates = {0.05, 0.3, 0.3, 0.9};
  const Scales scales = scales_of(rates, 3, 0, kImages);
  for (std::size_t branch = 0; branch < rates.size(); ++branch) {
    const double rate = rates[branch];
    double dropped = 0, sum = 0;
    for (std::int64_t i = 0; i < kImages; ++i) {
      const float scale = scales[branch * kImages + std::size_t(i)];
      dropped += scale == 0;
      sum += scale;
      ASSERT_TRUE(scale == 0 || scale == float(1 / (1 - rate)));
    }
    const double deviation = std::sqrt(rate * (1 - rate) / kImages);
    EXPECT_NEAR(dropped / kImages, rate, 4.5 * deviation);
    EXPECT_NEAR(sum / kImages, 1, 4.5 * deviation / (1 - rate));
  }
  // Both branches of a block are drawn apart: together as often as two coins.
  double both = 0;
  for (std::size_t i = 0; i < kImages; ++i) both += scales[kImages + i] == 0 && scales[2 * kImages + i] == 0;
  EXPECT_NEAR(both / kImages, 0.09, 4.5 * std::sqrt(0.09 * 0.91 / kImages));
}

TEST(BranchScales, AreAFunctionOfSeedEpochAndImage) {
  const std::vector<double> rates(6, 0.5);
  EXPECT_EQ(scales_of(rates, 1, 10, 40), scales_of(rates, 1, 10, 40));
  const std::set<Scales> all = {scales_of(rates, 1, 10, 40), scales_of(rates, 2, 10, 40),
                                scales_of(rates, 1, 11, 40), scales_of(rates, 1, 10, 40, 43)};
  EXPECT_EQ(all.size(), 4u);
}

TEST(BranchScales, AreTheSameHoweverABatchIsSplit) {
  const std::vector<double> rates = {0.2, 0.5};
  const Scales whole = scales_of(rates, 1, 8, 12);
  for (const std::int64_t part : {1, 4, 5}) {
    for (std::int64_t begin = 0; begin < 12; begin += part) {
      const std::int64_t count = std::min<std::int64_t>(part, 12 - begin);
      const Scales scales = scales_of(rates, 1, 8 + begin, count);
      for (std::int64_t branch = 0; branch < 2; ++branch) {
        for (std::int64_t i = 0; i < count; ++i) {
          EXPECT_EQ(scales[std::size_t(branch * count + i)], whole[std::size_t(branch * 12 + begin + i)]);
        }
      }
    }
  }
}

// ------------------------------------------------------------------------------------------------- in a run

TrainingOptions options_with_rate(double rate, std::int64_t accumulation = 1) {
  TrainingOptions options;
  options.epochs = 3;
  options.accumulation = accumulation;
  options.learning_rate = 0.01;
  options.drop_path = {.rate = rate, .seed = 5};
  return options;
}

class Counting : public BackendDecorator {
 public:
  using BackendDecorator::BackendDecorator;
  void run(const ops::Op& op) override {
    ++counts[ops::name_of(op)];
    BackendDecorator::run(op);
  }
  std::map<std::string, int> counts;
};

std::map<std::string, int> ops_of_a_step(double rate) {
  const auto backend = make_backend("onednn", 1);
  Counting counting(*backend);
  const auto model = tiny_model();
  MemorySource source(24, 4, kPixels, kClasses);
  Trainer trainer(*model, counting, source, options_with_rate(rate));
  model::upload_values(*backend, trainer.weights(), model::initial_values(model->parameters(), 3));
  trainer.start_at({});
  counting.counts.clear();
  EXPECT_TRUE(trainer.step());
  return counting.counts;
}

// Two blocks, of which the second can be left out: two branches, forward and backward.
TEST(DropPath, CostsOneOpABranchAndNothingWhereItIsOff) {
  std::map<std::string, int> with = ops_of_a_step(0.5), without = ops_of_a_step(0);
  EXPECT_FALSE(without.contains("ScaleSamples"));
  EXPECT_EQ(with["ScaleSamples"], 4);
  with.erase("ScaleSamples");
  EXPECT_EQ(with, without);
}

TEST(DropPath, IsDrawnByItsSeed) {
  TinyRun off(options_with_rate(0)), on(options_with_rate(0.5)), again(options_with_rate(0.5));
  TrainingOptions other_seed = options_with_rate(0.5);
  other_seed.drop_path.seed = 6;
  TinyRun other(other_seed);
  for (TinyRun* run : {&off, &on, &again, &other}) ASSERT_TRUE(run->trainer.step());
  EXPECT_EQ(on.values(on.trainer.weights()), again.values(again.trainer.weights()));
  EXPECT_NE(on.values(on.trainer.weights()), off.values(off.trainer.weights()));
  EXPECT_NE(on.values(on.trainer.weights()), other.values(other.trainer.weights()));
}

// Two batches of 4 in one step draw what a batch of 8 draws: the gradients are the same but for the order of
// sums.
TEST(DropPath, AccumulationEqualsABiggerBatch) {
  TinyRun parts(options_with_rate(0.5, 2), 24, 4), whole(options_with_rate(0.5), 24, 8),
      off(options_with_rate(0), 24, 8);
  for (int step = 0; step < 2; ++step) {
    for (TinyRun* run : {&parts, &whole, &off}) ASSERT_TRUE(run->trainer.step());
    const std::vector<float> a = parts.values(parts.trainer.gradients()),
                             b = whole.values(whole.trainer.gradients()),
                             c = off.values(off.trainer.gradients());
    double largest = 0, difference = 0, of_off = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      largest = std::max(largest, std::abs(double(b[i])));
      difference = std::max(difference, std::abs(double(a[i]) - b[i]));
      of_off = std::max(of_off, std::abs(double(c[i]) - b[i]));
    }
    EXPECT_LT(difference, 1e-5 * largest);
    EXPECT_GT(of_off, 1e-2 * largest) << "drop-path did nothing";
    for (TinyRun* run : {&parts, &off}) {  // both from the same weights again
      model::upload_values(*run->backend, run->trainer.weights(), whole.values(whole.trainer.weights()));
    }
  }
}

TEST(DropPath, EpochsDrawAnew) {
  TinyRun run(options_with_rate(0.5), 8, 8);
  std::set<std::vector<float>> gradients;
  const std::vector<float> start = run.values(run.trainer.weights());
  for (int epoch = 0; epoch < 3; ++epoch) {
    model::upload_values(*run.backend, run.trainer.weights(), start);
    ASSERT_TRUE(run.trainer.step());
    gradients.insert(run.values(run.trainer.gradients()));
    run.trainer.next_epoch();
  }
  EXPECT_EQ(gradients.size(), 3u);
}

}  // namespace
}  // namespace vretnet::training
