// The CPU backend's attention against the reference in double, on shapes around the kernels' block sizes.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/backends/onednn/mixers/mixers.h"
#include "core/backends/reference/reference_backend.h"
#include "tests/support/instruction_sets.h"
#include "tests/support/retention_case.h"
#include "tests/support/test_tensor.h"

namespace vretnet {
namespace {

using testing::Layout;
using testing::TestTensor;
using testing::TestWorkspace;

// One attention and its gradient: the same numbers in any dtype.
template <class T>
struct AttentionCase {
  TestTensor<T> q, k, v, d_o, o, log_sum_exp, d_q, d_k, d_v;

  AttentionCase(const Shape& shape, const Layout& layout, float size, std::uint64_t seed)
      : q(shape, layout),
        k(shape, layout),
        v(shape, layout),
        d_o(shape, layout),
        o(shape, layout),
        log_sum_exp({shape[0], shape[2], shape[1]}),
        d_q(shape, layout),
        d_k(shape, layout),
        d_v(shape, layout) {
    Random random(seed);
    for (TestTensor<T>* tensor : {&q, &k, &v, &d_o}) {
      std::vector<double> values = testing::rounded<float>(testing::random_values(random, shape));
      if (tensor == &q) {
        for (double& value : values) value *= size;
      }
      tensor->set(values);
    }
  }
  ops::Attention forward(float scale) const {
    return {.q = q.view(),
            .k = k.view(),
            .v = v.view(),
            .o = o.view(),
            .log_sum_exp = log_sum_exp.view(),
            .scale = scale};
  }
  ops::AttentionGradient gradient(float scale) const {
    return {.q = q.view(),
            .k = k.view(),
            .v = v.view(),
            .o = o.view(),
            .log_sum_exp = log_sum_exp.view(),
            .d_o = d_o.view(),
            .d_q = d_q.view(),
            .d_k = d_k.view(),
            .d_v = d_v.view(),
            .scale = scale};
  }
};

void run_mixer(auto op) {
  const TestWorkspace workspace(onednn::workspace_bytes(op));
  op.workspace = workspace.view();
  onednn::run(op);
}
void run_reference(auto op) {
  const auto backend = reference::make_reference_backend();
  const TestWorkspace workspace(backend->workspace_bytes(op));
  op.workspace = workspace.view();
  backend->run(op);
}

void expect_equal(const TestTensor<float>& found, const TestTensor<double>& expected, double bound,
                  const char* name) {
  EXPECT_TRUE(found.intact()) << name;
  EXPECT_LT(testing::worst_relative_error(found.values(), expected.values()), bound) << name;
}

void expect_as_reference(const Shape& shape, const Layout& layout, float scale, float size, double bound) {
  SCOPED_TRACE(shape.text() + " gap " + std::to_string(layout.gap) + (layout.reversed ? " reversed" : ""));
  const AttentionCase<float> found(shape, layout, size, 7);
  const AttentionCase<double> expected(shape, {}, size, 7);
  run_mixer(found.forward(scale));
  run_mixer(found.gradient(scale));
  run_reference(expected.forward(scale));
  run_reference(expected.gradient(scale));
  expect_equal(found.o, expected.o, bound, "o");
  expect_equal(found.log_sum_exp, expected.log_sum_exp, bound, "log_sum_exp");
  expect_equal(found.d_q, expected.d_q, bound, "d_q");
  expect_equal(found.d_k, expected.d_k, bound, "d_k");
  expect_equal(found.d_v, expected.d_v, bound, "d_v");
}

TEST(MixersAttention, EqualsTheReference) {
  for (const std::int64_t tokens : {1, 7, 16, 49, 50, 64, 65, 197, 300}) {
    for (const std::int64_t width : {2, 6, 32, 48, 64}) {
      expect_as_reference({1, tokens, 2, width}, {}, 0.3f, 1, 4e-6);
    }
  }
}

TEST(MixersAttention, ReadsStridedAndReversedViews) {
  for (const Layout& layout :
       {Layout{.gap = 5}, Layout{.reversed = true}, Layout{.gap = 12, .reversed = true}}) {
    for (const std::int64_t tokens : {1, 50, 131})
      expect_as_reference({2, tokens, 3, 6}, layout, 0.5f, 1, 4e-6);
  }
}

TEST(MixersAttention, EveryInstructionSet) {
  testing::for_each_instruction_set([] {
    for (const std::int64_t tokens : {1, 22, 81})
      expect_as_reference({1, tokens, 2, 22}, {.gap = 1}, 0.5f, 1, 4e-6);
  });
}

TEST(MixersAttention, BlocksOfALongSequence) {
  expect_as_reference({1, 2100, 1, 6}, {}, 0.5f, 1, 8e-6);
}

// Scores of some hundred: the softmax is nearly one-hot, and without its maximum it would overflow. The terms
// of a score add up to 40 · 32 / 4 = 320, so one rounding of it moves a probability by 320 · 2^-24 = 2e-5;
// score and log_sum_exp are rounded a few times each.
TEST(MixersAttention, LargeScores) {
  expect_as_reference({1, 300, 1, 32}, {}, 1, 40, 8 * 2e-5);
  expect_as_reference({1, 300, 1, 32}, {}, -1, 40, 8 * 2e-5);
}

TEST(MixersAttention, LogSumExpIsOptional) {
  const AttentionCase<float> kept({1, 50, 2, 6}, {}, 1, 3), not_kept({1, 50, 2, 6}, {}, 1, 3);
  ops::Attention op = not_kept.forward(1);
  op.log_sum_exp = {};
  run_mixer(kept.forward(1));
  run_mixer(op);
  EXPECT_EQ(kept.o.values(), not_kept.o.values());
}

TEST(MixersAttention, AnEmptyBatchIsNothing) {
  const AttentionCase<float> empty({0, 50, 2, 6}, {}, 1, 3);
  run_mixer(empty.forward(1));
  run_mixer(empty.gradient(1));
}

TEST(MixersAttention, NotANumberStaysOne) {
  const AttentionCase<float> broken({1, 20, 1, 6}, {}, 1, 3);
  broken.q.view().data<float>()[6] = std::numeric_limits<float>::quiet_NaN();
  run_mixer(broken.forward(1));
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(std::isnan(broken.o.view().data<float>()[6 + i]));
  EXPECT_FALSE(std::isnan(broken.o.view().data<float>()[0]));
}

}  // namespace
}  // namespace vretnet
