// Mixup and cutmix: what is drawn, what happens to pixels and targets.
#include "core/training/mixing.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "core/training/saved_state.h"
#include "tests/core/training/support.h"

namespace vretnet::training {
namespace {

constexpr std::int64_t kHeight = 8, kWidth = 12;  // of the tiny model, one channel

MixingOptions mixup_only(double alpha = 0.8) {
  return {.mixup = alpha};
}
MixingOptions cutmix_only(double alpha = 1) {
  return {.cutmix = alpha};
}

TEST(DrawMix, IsAFunctionOfSeedEpochAndBatch) {
  const MixingOptions options{.mixup = 0.8, .cutmix = 1};
  const auto share = [&](const MixingOptions& some, std::int64_t epoch, std::int64_t batch) {
    return draw_mix(some, epoch, batch, 32, 32).own_share;
  };
  MixingOptions other = options;
  other.seed = 43;
  EXPECT_EQ(share(options, 1, 2), share(options, 1, 2));
  const std::set<double> shares = {share(options, 1, 2), share(options, 2, 1), share(options, 1, 3),
                                   share(other, 1, 2)};
  EXPECT_EQ(shares.size(), 4u);
}

TEST(DrawMix, MixesAndSwitchesAsOftenAsAsked) {
  constexpr int kBatches = 4000;
  const MixingOptions options{.mixup = 0.8, .cutmix = 1, .probability = 0.7, .switch_probability = 0.3};
  int mixed = 0, cut = 0;
  for (std::int64_t batch = 0; batch < kBatches; ++batch) {
    const Mix mix = draw_mix(options, 0, batch, 1000, 1000);
    ASSERT_GE(mix.own_share, 0);
    ASSERT_LE(mix.own_share, 1);
    mixed += mix.own_share < 1;
    cut += mix.cut;
  }
  // A box of less than a thousandth of the side is none: of cutmix with uniform shares one in a million.
  EXPECT_NEAR(mixed, kBatches * 0.7, 4.5 * std::sqrt(kBatches * 0.7 * 0.3));
  EXPECT_NEAR(cut, kBatches * 0.21, 4.5 * std::sqrt(kBatches * 0.21 * 0.79));
}

TEST(DrawMix, EndsAtItsEpoch) {
  MixingOptions options = mixup_only();
  options.off_epoch = 3;
  EXPECT_LT(draw_mix(options, 2, 0, 32, 32).own_share, 1);
  EXPECT_EQ(draw_mix(options, 3, 0, 32, 32).own_share, 1);
  EXPECT_EQ(draw_mix(MixingOptions{}, 0, 0, 32, 32).own_share, 1);
}

TEST(DrawMix, SharesOfCutmixAreThoseOfTheBox) {
  for (std::int64_t batch = 0; batch < 300; ++batch) {
    const Mix mix = draw_mix(cutmix_only(), 0, batch, 13, 29);
    ASSERT_TRUE(mix.cut);
    ASSERT_LE(0, mix.box.top);
    ASSERT_LE(mix.box.top, mix.box.bottom);
    ASSERT_LE(mix.box.bottom, 13);
    ASSERT_LE(0, mix.box.left);
    ASSERT_LE(mix.box.left, mix.box.right);
    ASSERT_LE(mix.box.right, 29);
    ASSERT_EQ(mix.own_share, share_outside(mix.box, 13, 29));
  }
}

class MixingSourceTest : public ::testing::Test {
 protected:
  MixingSource mixed(const MixingOptions& options) {
    return MixingSource(source_, options, {source_.batch_size(), kHeight, kWidth, 1});
  }
  MemorySource source_{22, 4, kPixels, kClasses}, plain_{22, 4, kPixels, kClasses};
};

TEST_F(MixingSourceTest, MixupIsTheWeightedSumOfAnImageAndItsPartner) {
  MixingSource mixing = mixed(mixup_only());
  for (const std::int64_t epoch : {0, 3}) {
    mixing.start_epoch(epoch, 0);
    plain_.start_epoch(epoch, 0);
    while (const Batch* batch = mixing.next()) {
      const Batch before = *plain_.next();
      const auto share =
          static_cast<float>(draw_mix(mixup_only(), epoch, before.position, kHeight, kWidth).own_share);
      ASSERT_EQ(batch->own_share, share);
      ASSERT_EQ(batch->count, before.count);
      for (std::int64_t i = 0; i < batch->count; ++i) {
        const std::int64_t partner = batch->count - 1 - i;
        ASSERT_EQ(batch->labels[i], before.labels[i]);
        ASSERT_EQ(batch->other_labels[i], before.labels[partner]);
        for (std::int64_t p = 0; p < kPixels; ++p) {
          const double expected = double(share) * before.images[i * kPixels + p] +
                                  (1 - double(share)) * before.images[partner * kPixels + p];
          // Two products, a sum and 1 − λ, each rounded; the pixels are at most 5.
          ASSERT_NEAR(batch->images[i * kPixels + p], expected, 4 * 5 * 0x1p-24);
        }
      }
    }
    EXPECT_EQ(plain_.next(), nullptr);
  }
}

TEST_F(MixingSourceTest, CutmixPastesThePartnersBox) {
  MixingSource mixing = mixed(cutmix_only());
  mixing.start_epoch(1, 0);
  plain_.start_epoch(1, 0);
  int boxes = 0;
  while (const Batch* batch = mixing.next()) {
    const Batch before = *plain_.next();
    const Mix mix = draw_mix(cutmix_only(), 1, before.position, kHeight, kWidth);
    if (mix.own_share == 1) continue;
    ++boxes;
    for (std::int64_t i = 0; i < batch->count; ++i) {
      for (std::int64_t p = 0; p < kPixels; ++p) {
        const std::int64_t y = p / kWidth, x = p % kWidth;
        const bool inside = y >= mix.box.top && y < mix.box.bottom && x >= mix.box.left && x < mix.box.right;
        const std::int64_t from = inside ? batch->count - 1 - i : i;
        ASSERT_EQ(batch->images[i * kPixels + p], before.images[from * kPixels + p]);
      }
    }
  }
  EXPECT_GT(boxes, 0);
}

TEST_F(MixingSourceTest, AResumedEpochIsTheTail) {
  const MixingOptions options{.mixup = 0.8, .cutmix = 1};
  MixingSource whole = mixed(options);
  MixingSource resumed(plain_, options, {4, kHeight, kWidth, 1});
  whole.start_epoch(2, 0);
  for (int i = 0; i < 3; ++i) whole.next();
  resumed.start_epoch(2, 3);
  for (;;) {
    const Batch *a = whole.next(), *b = resumed.next();
    ASSERT_EQ(a == nullptr, b == nullptr);
    if (a == nullptr) break;
    EXPECT_EQ(a->own_share, b->own_share);
    EXPECT_TRUE(std::equal(a->images, a->images + a->count * kPixels, b->images));
  }
}

TEST_F(MixingSourceTest, ABatchThatIsNotMixedIsNotTouched) {
  MixingOptions options = mixup_only();
  options.probability = 0;
  MixingSource mixing = mixed(options);
  mixing.start_epoch(0, 0);
  const Batch* batch = mixing.next();
  ASSERT_NE(batch, nullptr);
  EXPECT_EQ(batch->other_labels, nullptr);
  EXPECT_EQ(batch->own_share, 1);
}

TEST(Targets, SumToOneAndFollowTheShares) {
  const std::vector<std::int32_t> labels = {0, 2, 1, 1}, others = {1, 1, 2, 0};
  Batch batch{.count = 4, .labels = labels.data(), .other_labels = others.data(), .own_share = 0.3f};
  std::vector<float> targets(12, 9);
  fill_targets(batch, 3, targets);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(targets[3 * i] + targets[3 * i + 1] + targets[3 * i + 2], 1);
    EXPECT_EQ(targets[3 * i + std::size_t(labels[i])], 0.3f);
    EXPECT_EQ(heavier_label(batch, std::int64_t(i)), others[i]);
  }
  batch.own_share = 0.5f;
  EXPECT_EQ(heavier_label(batch, 0), 0);
  batch.other_labels = nullptr;
  batch.own_share = 1;
  fill_targets(batch, 3, targets);
  EXPECT_EQ(targets, (std::vector<float>{1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 0}));
}

// A mixed batch's loss is λ times the loss of the own labels and 1 − λ times that of the others, as both are
// linear in the targets; and so with smoothing.
TEST(Targets, TheLossOfAMixIsTheMixOfLosses) {
  TinyRun run({});
  MixingSource mixing(run.source, mixup_only(), {4, kHeight, kWidth, 1});
  TrainingOptions options;
  options.smoothing = 0.1;
  Trainer trainer(*run.model, *run.backend, mixing, options);
  model::upload_values(*run.backend, trainer.weights(), model::initial_values(run.model->parameters(), 3));
  trainer.start_at({});
  ASSERT_TRUE(trainer.step());

  mixing.start_epoch(0, 0);
  const Batch& batch = *mixing.next();
  ASSERT_LT(batch.own_share, 1);
  model::Session session(*run.model, *run.backend, run.trainer.weights(), View(), {});
  std::vector<float> logits(std::size_t(batch.count * kClasses));
  run.backend->download(session.forward(batch.images, batch.count), logits.data());
  double expected = 0;
  for (std::int64_t i = 0; i < batch.count; ++i) {
    const float* row = logits.data() + i * kClasses;
    double sum = 0, mean = 0;
    for (std::int64_t c = 0; c < kClasses; ++c) sum += std::exp(double(row[c]));
    const auto surprise = [&](std::int64_t c) { return std::log(sum) - row[c]; };
    for (std::int64_t c = 0; c < kClasses; ++c) mean += surprise(c) / kClasses;
    const double own = batch.own_share;
    expected +=
        0.9 * (own * surprise(batch.labels[i]) + (1 - own) * surprise(batch.other_labels[i])) + 0.1 * mean;
  }
  EXPECT_NEAR(trainer.last_loss(), expected / double(batch.count), 1e-5);
}

}  // namespace
}  // namespace vretnet::training
