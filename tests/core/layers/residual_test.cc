// What stochastic depth does to a residual branch.
#include "core/layers/residual.h"

#include <gtest/gtest.h>

#include "core/layers/feed_forward.h"
#include "tests/support/pass_bench.h"
#include "tests/support/test_tensor.h"

namespace vretnet::layers {
namespace {

constexpr std::int64_t kImages = 3, kTokens = 4, kWidth = 6, kImage = kTokens * kWidth;

class DroppedBranch : public ::testing::TestWithParam<bool> {  // with a layer scale?
 protected:
  DroppedBranch() {
    const Norm norm(table_, "norm1", kWidth, 1e-6);
    auto branch = std::make_unique<FeedForward>(table_, "mlp", kWidth, 10, LinearStart::fan_in);
    std::optional<LayerScale> scale;
    if (GetParam()) scale.emplace(table_, "ls1", kWidth, 0.3);
    layer_ = std::make_unique<PreNormResidual>(norm, std::move(branch), scale, /*droppable=*/1);
    table_.lay_out();
    Random random(3);
    x_ = testing::random_values(random, {kImages, kTokens, kWidth});
  }

  // y, and then d_x of the same numbers as d_y. `scales` [2, images], of which the layer's are the second
  // row; none: nothing is dropped.
  std::vector<double> run(const std::vector<double>& scales, std::vector<double>* d_x = nullptr) {
    testing::PassBench bench(table_, {.mode = Mode::training, .dtype = DType::f64});
    const Allocation x = bench.upload(x_, {kImages, kTokens, kWidth});
    Allocation uploaded;
    if (!scales.empty()) uploaded = bench.upload(scales, {2, std::ssize(scales) / 2});
    std::vector<double> y;
    bench.walk([&](Pass& pass) {
      pass.scale_branches(uploaded.view());
      y = bench.download(pass, layer_->forward(pass, Tensor(x.view())));
      const Tensor gradient = layer_->backward(pass, Tensor(x.view()));
      if (d_x != nullptr) *d_x = bench.download(pass, gradient);
    });
    gradients_ = bench.gradients();
    return y;
  }

  ParameterTable table_;
  std::unique_ptr<PreNormResidual> layer_;
  std::vector<double> x_, gradients_;
};

TEST_P(DroppedBranch, LeavesXAsItWas) {
  std::vector<double> d_x;
  const std::vector<double> whole = run({}), y = run({9, 9, 9, 0, 1, 2.5}, &d_x);
  for (std::int64_t i = 0; i < kImages * kImage; ++i) {
    const double branch = whole[std::size_t(i)] - x_[std::size_t(i)], rho = i < kImage       ? 0
                                                                            : i < 2 * kImage ? 1
                                                                                             : 2.5;
    EXPECT_NEAR(y[std::size_t(i)], x_[std::size_t(i)] + rho * branch, 1e-14);
    if (rho > 0) continue;
    EXPECT_EQ(y[std::size_t(i)], x_[std::size_t(i)]);
    EXPECT_EQ(d_x[std::size_t(i)], x_[std::size_t(i)]) << "the gradient that went in";
  }
}

TEST_P(DroppedBranch, ThatNoImageTakesLearnsNothing) {
  run({1, 1, 1, 0, 0, 0});
  EXPECT_EQ(gradients_, std::vector<double>(gradients_.size(), 0.0));
  run({0, 0, 0, 1, 1, 1});
  EXPECT_NE(gradients_, std::vector<double>(gradients_.size(), 0.0));
}

// The short last batch of an epoch reads the first scales of a row.
TEST_P(DroppedBranch, RoomForMoreImagesChangesNothing) {
  EXPECT_EQ(run({9, 9, 9, 0, 1, 2.5}), run({9, 9, 9, 9, 9, 0, 1, 2.5, 9, 9}));
}

INSTANTIATE_TEST_SUITE_P(LayerScale, DroppedBranch, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "with" : "without"; });

}  // namespace
}  // namespace vretnet::layers
