#include "core/training/trainer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "core/base/error.h"
#include "core/training/evaluate.h"
#include "core/training/metrics.h"
#include "core/training/saved_state.h"
#include "tests/core/training/support.h"

namespace vretnet::training {
namespace {

TrainingOptions options_of(std::int64_t accumulation = 1) {
  TrainingOptions options;
  options.epochs = 3;
  options.accumulation = accumulation;
  options.learning_rate = 0.01;
  return options;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(double(a[i]) - b[i]));
  return largest;
}

// Two batches of 4 in one step are a batch of 8, but for the order of the sums.
TEST(Trainer, AccumulationEqualsABiggerBatch) {
  TinyRun parts(options_of(2), 24, 4), whole(options_of(1), 24, 8);
  ASSERT_EQ(parts.trainer.steps_per_epoch(), whole.trainer.steps_per_epoch());
  ASSERT_TRUE(parts.trainer.step());
  ASSERT_TRUE(whole.trainer.step());
  const std::vector<float> gradients = whole.values(whole.trainer.gradients());
  double largest = 0;
  for (const float g : gradients) largest = std::max(largest, std::abs(double(g)));
  EXPECT_GT(largest, 1e-3);
  EXPECT_LT(largest_difference(parts.values(parts.trainer.gradients()), gradients), 1e-5 * largest);
  EXPECT_NEAR(parts.trainer.last_loss(), whole.trainer.last_loss(), 1e-6);
  EXPECT_EQ(parts.trainer.position().images, whole.trainer.position().images);
  EXPECT_EQ(parts.trainer.position().correct, whole.trainer.position().correct);
  EXPECT_NEAR(parts.trainer.gradient_norm(), whole.trainer.gradient_norm(),
              1e-5 * whole.trainer.gradient_norm());
}

// Blocks that run again in backward give the bits of blocks whose activations were kept, in less memory; what
// stochastic depth left out is left out again. (The gradient of learned decays is composed: in a model so
// tiny its workspace is most of the memory.)
TEST(Trainer, CheckpointedActivationsChangeNothingButMemory) {
  for (const auto& [local, learned] : {std::pair(false, false), {true, false}, {true, true}}) {
    TrainingOptions options = options_of();
    options.drop_path.rate = local ? 0.4 : 0;
    TinyRun kept(tiny_model(local, learned), options, 24, 8);
    options.pass.checkpoint_activations = true;
    TinyRun recomputed(tiny_model(local, learned), options, 24, 8);
    for (int step = 0; step < 3; ++step) {
      ASSERT_TRUE(kept.trainer.step());
      ASSERT_TRUE(recomputed.trainer.step());
      EXPECT_EQ(recomputed.trainer.last_loss(), kept.trainer.last_loss());
    }
    EXPECT_TRUE(recomputed.values(recomputed.trainer.weights()) == kept.values(kept.trainer.weights()));
    EXPECT_LT(recomputed.trainer.arena_bytes(), (learned ? 4 : 3) * kept.trainer.arena_bytes() / 4);
  }
}

// Every head of every layer, and no weight decay, however large, takes part in it.
TEST(Trainer, LearnsDecays) {
  std::vector<std::vector<float>> learned;
  for (const double weight_decay : {0.0, 0.5}) {
    TrainingOptions options = options_of();
    options.optimizer.weight_decay = weight_decay;
    TinyRun run(options, 24, 8, "onednn", /*local=*/true);
    const std::vector<float> first = run.values(run.trainer.weights());
    ASSERT_TRUE(run.trainer.step());
    const std::vector<float> then = run.values(run.trainer.weights());
    std::vector<float>& decays = learned.emplace_back();
    for (const char* name : {"blocks.0.retention.decay", "blocks.1.retention.decay"}) {
      const std::int64_t offset = run.model->parameters().find(name)->offset;
      for (std::int64_t h = 0; h < 2; ++h) {
        EXPECT_NE(then[offset + h], first[offset + h]) << name;
        decays.push_back(then[offset + h]);
      }
    }
  }
  EXPECT_EQ(learned[0], learned[1]);
}

TEST(Trainer, CountsStepsEpochsAndARaggedEnd) {
  TinyRun run(options_of(2), 18, 4);  // batches of 4, 4, 4, 4, 2: steps of 8, 8 and 2 images
  EXPECT_EQ(run.trainer.steps_per_epoch(), 3);
  EXPECT_EQ(run.trainer.total_steps(), 9);
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    EXPECT_EQ(run.trainer.position().epoch, epoch);
    for (const std::int64_t images : {8, 16, 18}) {
      ASSERT_TRUE(run.trainer.step());
      EXPECT_EQ(run.trainer.position().images, images);
    }
    EXPECT_FALSE(run.trainer.step()) << "no batch is left";
    EXPECT_EQ(run.trainer.position().batch, 5);
    EXPECT_EQ(run.trainer.position().step, 3 * (epoch + 1));
    EXPECT_FALSE(run.trainer.finished());
    run.trainer.next_epoch();
  }
  EXPECT_TRUE(run.trainer.finished());
}

// What training counts as right is what the same weights say in evaluation of the same batch.
TEST(Trainer, CountsRightAnswersOfItsOwnLogits) {
  for (const bool local : {false, true}) {
    TrainingOptions options = options_of();
    options.smoothing = 0;
    TinyRun run(options, 24, 24, "onednn", local);
    const Evaluation before = evaluate(*run.model, *run.backend, run.trainer.weights(), {}, run.source);
    run.trainer.start_at({});
    ASSERT_TRUE(run.trainer.step());
    EXPECT_EQ(run.trainer.position().correct, std::llround(before.top1 * 24));
    EXPECT_NEAR(run.trainer.last_loss(), before.loss, 1e-5);
  }
}

TEST(Trainer, LearnsItsImagesByHeart) {
  TrainingOptions options = options_of();
  options.epochs = 60;
  options.smoothing = 0;
  TinyRun run(options, 12, 12);
  ASSERT_TRUE(run.trainer.step());
  const double first = run.trainer.last_loss();
  while (!run.trainer.finished()) {
    while (run.trainer.step()) continue;
    run.trainer.next_epoch();
  }
  EXPECT_LT(run.trainer.last_loss(), 0.1 * first);
}

TEST(Trainer, BestWeightsAreTheAverage) {
  TrainingOptions options = options_of();
  TinyRun plain(options);
  EXPECT_TRUE(plain.values(plain.trainer.best_weights()) == plain.values(plain.trainer.weights()));
  options.optimizer.ema_decay = 0.9;
  TinyRun averaged(options);
  const std::vector<float> start = averaged.values(averaged.trainer.weights());
  EXPECT_TRUE(averaged.values(averaged.trainer.best_weights()) == start) << "it begins at the first weights";
  ASSERT_TRUE(averaged.trainer.step());
  const std::vector<float> weights = averaged.values(averaged.trainer.weights());
  const std::vector<float> average = averaged.values(averaged.trainer.best_weights());
  const double decay = 2.0 / 11;  // min(0.9, (1 + t) / (10 + t)), t = 1
  for (std::size_t i = 0; i < start.size(); ++i) {
    ASSERT_NEAR(average[i], decay * start[i] + (1 - decay) * weights[i], 1e-6);
  }
}

TEST(Trainer, ALossThatIsNotFiniteLeavesTheWeights) {
  TinyRun run(options_of());
  std::vector<double> values = model::initial_values(run.model->parameters(), 3);
  const layers::NamedTensor* bias = run.model->parameters().find("head.bias");
  ASSERT_NE(bias, nullptr);
  values[std::size_t(bias->offset)] = std::nan("");
  model::upload_values(*run.backend, run.trainer.weights(), values);
  const std::vector<float> before = run.values(run.trainer.weights());
  EXPECT_THROW(run.trainer.step(), RunError);
  const std::vector<float> after = run.values(run.trainer.weights());
  for (std::size_t i = 0; i < before.size(); ++i) {
    ASSERT_TRUE(before[i] == after[i] || (std::isnan(before[i]) && std::isnan(after[i])));
  }
}

class SavedStateTest : public ::testing::Test {
 protected:
  SavedStateTest()
      : path_(std::filesystem::path(::testing::TempDir()) /
              ("vretnet_saved_state_" + std::to_string(::getpid()) + ".safetensors")) {}
  ~SavedStateTest() override { std::filesystem::remove(path_); }
  std::filesystem::path path_;
};

// Saved in the middle of an epoch and loaded by another trainer: the rest of the run has the same bits.
TEST_F(SavedStateTest, GoesOnWithTheSameBits) {
  for (const auto& [ema, drop_path] : {std::pair(0.0, 0.4), std::pair(0.9, 0.0)}) {
    TrainingOptions options = options_of(2);
    options.optimizer.ema_decay = ema;
    options.drop_path.rate = drop_path;
    TinyRun run(options), other(options);
    for (int step = 0; step < 2; ++step) ASSERT_TRUE(run.trainer.step());
    save_state(path_, *run.backend, run.trainer, {{"extra", "kept"}});
    const model::Metadata metadata = load_state(path_, *other.backend, other.trainer);
    EXPECT_EQ(metadata.at("extra"), "kept");
    EXPECT_EQ(read_state_metadata(path_).at("extra"), "kept");
    EXPECT_EQ(other.trainer.position(), run.trainer.position());
    while (!run.trainer.finished()) {
      for (;;) {
        const bool more = run.trainer.step();
        ASSERT_EQ(other.trainer.step(), more);
        ASSERT_EQ(other.trainer.position(), run.trainer.position());
        if (!more) break;
      }
      run.trainer.next_epoch();
      other.trainer.next_epoch();
    }
    EXPECT_TRUE(run.values(run.trainer.weights()) == other.values(other.trainer.weights()));
    EXPECT_TRUE(run.values(run.trainer.best_weights()) == other.values(other.trainer.best_weights()));
    EXPECT_TRUE(run.values(run.trainer.optimizer().second_moment()) ==
                other.values(other.trainer.optimizer().second_moment()));
  }
}

TEST_F(SavedStateTest, TheEndOfARunCanBeSaved) {
  TinyRun run(options_of()), other(options_of());
  run.trainer.start_at({.epoch = 3, .batch = 0, .step = 18});
  save_state(path_, *run.backend, run.trainer, {});
  load_state(path_, *other.backend, other.trainer);
  EXPECT_TRUE(other.trainer.finished());
}

TEST_F(SavedStateTest, WhatDoesNotFitIsRefused) {
  TrainingOptions averaged = options_of();
  averaged.optimizer.ema_decay = 0.9;
  TinyRun plain(options_of()), with_average(averaged), other_model(options_of(), 24, 4, "onednn", true);
  const auto expect_refused = [&](TinyRun& run) {
    try {
      load_state(path_, *run.backend, run.trainer);
      ADD_FAILURE() << "accepted";
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(path_.filename().string()), std::string::npos) << error.what();
    }
  };
  save_state(path_, *plain.backend, plain.trainer, {});
  expect_refused(with_average);
  expect_refused(other_model);
  save_state(path_, *with_average.backend, with_average.trainer, {});
  expect_refused(plain);
  plain.trainer.start_at({.epoch = 2, .batch = 3, .step = 15});
  save_state(path_, *plain.backend, plain.trainer, {});
  TrainingOptions shorter = options_of();
  shorter.epochs = 1;
  TinyRun short_run(shorter), few_images(options_of(), 8, 4);
  expect_refused(short_run);
  expect_refused(few_images);
}

}  // namespace
}  // namespace vretnet::training
