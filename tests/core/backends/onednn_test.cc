// What the conformance table leaves open about the CPU backend: work large enough to be shared among threads
// or repacked, every instruction set that this processor has, equal bits, and the accuracy of GELU.
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

#include "core/backends/onednn/onednn_backend.h"
#include "core/conformance/conformance.h"

namespace vretnet {
namespace {

using conformance::Case;
using conformance::kGaps;
using conformance::Operands;
using conformance::Values;

// Above the grain at which threads share, and where products repack b.
std::vector<Case> large_cases() {
  constexpr std::int64_t kRows = 301, kWidth = 77;
  std::vector<Case> cases;
  const auto add = [&](const char* name, auto make) {
    cases.push_back({name, [make](Operands& operands) -> ops::Op { return make(operands); }});
  };
  add("Gemm/tall", [](Operands& o) {
    return ops::Gemm{.a = o.input("a", {1030, 40}),
                     .b = o.input("b", {50, 40}).transposed(),
                     .y = o.output("y", {1030, 50}),
                     .bias = o.input("bias", {50}),
                     .residual = o.input("residual", {1030, 50})};
  });
  add("Gemm/tall gelu", [](Operands& o) {
    return ops::Gemm{.a = o.input("a", {1030, 40}),
                     .b = o.input("b", {50, 40}).transposed(),
                     .y = o.output("y", {1030, 50}),
                     .bias = o.input("bias", {50}),
                     .pre_activation = o.output("pre_activation", {1030, 50}),
                     .activation = ops::ActivationKind::gelu};
  });
  add("Gemm/tall accumulate", [](Operands& o) {
    return ops::Gemm{.a = o.input("a", {33, 1030}).transposed(),
                     .b = o.input("b", {33, 48}),
                     .y = o.update("y", {1030, 48}),
                     .write = ops::Write::accumulate};
  });
  add("Gemm/b's rows 1 KiB apart", [](Operands& o) {
    return ops::Gemm{.a = o.input("a", {70, 515}).transposed(),
                     .b = o.input("b", {70, 256}),
                     .y = o.update("y", {515, 256}),
                     .alpha = 0.5f,
                     .write = ops::Write::accumulate};
  });
  add("ColumnSum/large", [](Operands& o) {
    return ops::ColumnSum{.x = o.input("x", {kRows, kWidth}, kGaps), .y = o.update("y", {kWidth})};
  });
  add("LayerNormGradient/large", [](Operands& o) {
    ops::LayerNormGradient op;
    op.x = o.input("x", {kRows, kWidth});
    op.gain = o.input("gain", {kWidth});
    op.mean = o.input("mean", {kRows});
    op.inverse_deviation = o.input("inverse_deviation", {kRows}, {}, Values::positive);
    op.d_y = o.input("d_y", {kRows, kWidth}, kGaps);
    op.d_x = o.output("d_x", {kRows, kWidth});
    op.d_gain = o.update("d_gain", {kWidth});
    op.d_bias = o.update("d_bias", {kWidth});
    return op;
  });
  add("GateGradient/large", [](Operands& o) {
    const Shape shape{kRows, kWidth};
    return ops::GateGradient{o.input("g", shape, kGaps), o.input("x", shape), o.input("d_y", shape),
                             o.output("d_g", shape), o.output("d_x", shape, kGaps)};
  });
  add("Convert/large transposed", [](Operands& o) {
    return ops::Convert{.x = o.input("x", {kWidth, kRows}).transposed(), .y = o.output("y", {kRows, kWidth})};
  });
  add("Depthwise/large", [](Operands& o) {
    return ops::Depthwise{.x = o.input("x", {3, 17, 15, 70}),
                          .weight = o.input("weight", {70, 1, 3, 3}),
                          .bias = o.input("bias", {70}),
                          .y = o.output("y", {3, 17, 15, 70}),
                          .padding = {1, 1, 1, 1}};
  });
  add("DepthwiseWeightGradient/large", [](Operands& o) {
    return ops::DepthwiseWeightGradient{.x = o.input("x", {3, 17, 15, 70}),
                                        .d_y = o.input("d_y", {3, 17, 15, 70}),
                                        .d_weight = o.update("d_weight", {70, 1, 3, 3}),
                                        .d_bias = o.update("d_bias", {70}),
                                        .padding = {1, 1, 1, 1}};
  });
  // Panels of rows, the last one not full, and sums deeper than a block.
  const auto add_product = [&](const char* name, ops::ActivationKind activation, bool keeps,
                               ops::Write write) {
    add(name, [=](Operands& o) {
      ops::Gemm op;
      op.a = o.input("a", {250, 801}, kGaps, Values::small);
      op.b = o.input("b", {410, 801}).transposed();
      op.bias = o.input("bias", {410});
      if (write == ops::Write::overwrite) op.residual = o.input("residual", {250, 410}, kGaps);
      op.y = write == ops::Write::overwrite ? o.output("y", {250, 410}, kGaps) : o.update("y", {250, 410});
      if (keeps) op.pre_activation = o.output("pre_activation", {250, 410});
      op.activation = activation;
      op.write = write;
      return op;
    });
  };
  add_product("Gemm/large residual", ops::ActivationKind::none, false, ops::Write::overwrite);
  add_product("Gemm/large gelu", ops::ActivationKind::gelu, false, ops::Write::overwrite);
  add_product("Gemm/large gelu kept", ops::ActivationKind::gelu, true, ops::Write::overwrite);
  add_product("Gemm/large accumulated", ops::ActivationKind::none, false, ops::Write::accumulate);
  add_product("Gemm/large silu kept, accumulated", ops::ActivationKind::silu, true, ops::Write::accumulate);
  add("SquaredNorm/large",
      [](Operands& o) { return ops::SquaredNorm{.x = o.input("x", {50001}), .y = o.output("y", {1})}; });
  add("CrossEntropy/large", [](Operands& o) {
    return ops::CrossEntropy{.logits = o.input("logits", {40, 203}),
                             .targets = o.input("targets", {40, 203}, {}, Values::positive),
                             .loss = o.output("loss", {40}),
                             .d_logits = o.output("d_logits", {40, 203}),
                             .smoothing = 0.1f};
  });
  return cases;
}

TEST(Onednn, SharesOutLargeWork) {
  for (int threads : {1, 2, 3}) {
    const auto backend = make_onednn_backend(threads);
    for (const Case& the_case : large_cases()) {
      const conformance::Result result = run_case(*backend, DType::f32, the_case);
      EXPECT_TRUE(result.passed) << the_case.name << ", " << threads << " threads: " << result.reason;
    }
  }
}

// The memory of all operands after the op has run.
std::vector<double> run_once(Backend& backend, const Case& the_case) {
  Operands operands(DType::f32, 5);
  ops::Op op = the_case.make(operands);
  operands.upload(backend);
  const std::size_t bytes = backend.workspace_bytes(op);
  const Allocation workspace(backend, DType::f32, {static_cast<std::int64_t>(bytes / 4)});
  if (bytes > 0) set_workspace(op, workspace.view());
  backend.run(op);
  std::vector<double> all;
  for (const Operands::Operand& operand : operands.all()) {
    const std::vector<double> memory = operands.download(backend, operand);
    all.insert(all.end(), memory.begin(), memory.end());
  }
  operands.release(backend);
  return all;
}

bool equal_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

TEST(Onednn, EqualThreadsGiveEqualBitsOnAnyCallingThread) {
  const auto backend = make_onednn_backend(2), other = make_onednn_backend(2);
  for (const Case& the_case : large_cases()) {
    const std::vector<double> expected = run_once(*backend, the_case);
    EXPECT_TRUE(equal_bits(expected, run_once(*backend, the_case))) << the_case.name;
    std::vector<double> elsewhere;
    std::thread([&] { elsewhere = run_once(*other, the_case); }).join();
    EXPECT_TRUE(equal_bits(expected, elsewhere)) << the_case.name << " on another calling thread";
  }
}

// The whole table again with kernels that a newer processor's dispatcher does not choose.
class InstructionSet : public ::testing::TestWithParam<std::int64_t> {
 protected:
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

TEST_P(InstructionSet, PassesConformance) {
  if ((hwy::SupportedTargets() & GetParam()) == 0) {
    GTEST_SKIP() << "this processor has no " << hwy::TargetName(GetParam());
  }
  hwy::SetSupportedTargetsForTest(GetParam());
  const auto backend = make_onednn_backend(1);
  for (const Case& the_case : conformance::conformance_cases()) {
    const conformance::Result result = run_case(*backend, DType::f32, the_case);
    EXPECT_TRUE(result.passed) << the_case.name << ": " << result.reason;
  }
}

INSTANTIATE_TEST_SUITE_P(Highway, InstructionSet, ::testing::Values<std::int64_t>(HWY_AVX2, HWY_SCALAR),
                         [](const auto& target) { return hwy::TargetName(target.param); });

// As the formula in f32, x·(1 + erf(x/√2))/2, allows: Φ within 3 units of 2^-24, one rounding more for the
// product, and 0 or x exactly beyond 5.6 (core/backends/onednn/row_kernels-inl.h).
TEST(Onednn, GeluIsAsExactAsItsFormula) {
  const auto backend = make_onednn_backend(1);
  constexpr std::int64_t kCount = 200001;
  const Allocation x(*backend, DType::f32, {kCount}), y(*backend, DType::f32, {kCount});
  for (std::int64_t i = 0; i < kCount; ++i) {
    x.view().data<float>()[i] = static_cast<float>(-12.5 + 25.0 * static_cast<double>(i) / (kCount - 1));
  }
  backend->run(ops::Activation{.x = x.view(), .y = y.view()});
  double worst = 0;  // in units of 2^-24 · |x|
  for (std::int64_t i = 0; i < kCount; ++i) {
    const double value = x.view().data<float>()[i], result = y.view().data<float>()[i];
    if (std::abs(value) >= 5.6) {
      EXPECT_EQ(result, std::max(value, 0.0));
    } else if (value != 0) {
      const double expected = value * 0.5 * std::erfc(-value / std::sqrt(2.0));
      worst = std::max(worst, std::abs((result - expected) / value) * 0x1p24);
    }
  }
  EXPECT_LE(worst, 4);
  EXPECT_GT(worst, 0) << "nothing was compared";
}

// What is kept of a constant b is of use only until weights_changed, and outlives memory of others.
TEST(Onednn, ConstantWeightsAreReadAgainWhenTheyChanged) {
  const auto backend = make_onednn_backend(2);
  constexpr std::int64_t kRows = 100, kColumns = 24, kDepth = 16;
  const Allocation a(*backend, DType::f32, {kRows, kDepth}), b(*backend, DType::f32, {kDepth, kColumns});
  const Allocation y(*backend, DType::f32, {kRows, kColumns});
  backend->upload(a.view(), std::vector<float>(kRows * kDepth, 1).data());
  for (const auto activation :
       {ops::ActivationKind::none, ops::ActivationKind::silu}) {  // one call, and panels
    ops::Gemm op{.a = a.view(), .b = b.view(), .y = y.view(), .activation = activation, .constant_b = true};
    const Allocation workspace(*backend, std::max<std::size_t>(64, backend->workspace_bytes(op)));
    op.workspace =
        View(workspace.buffer(), DType::f32, {static_cast<std::int64_t>(workspace.buffer()->bytes / 4)});
    for (const float weight : {1.0f, 2.0f}) {
      backend->upload(b.view(), std::vector<float>(kDepth * kColumns, weight).data());
      backend->weights_changed();
      const Allocation other(*backend, DType::f32, {5});  // released before the product is read again
      backend->run(op);
      backend->run(op);
      EXPECT_NEAR(y.view().data<float>()[kRows * kColumns - 1], 16 * weight, 1e-4);
    }
  }
}

// A square matrix and its transpose have one address, one shape and, packed, one layout.
TEST(Onednn, AConstantMatrixIsNotItsTranspose) {
  const auto backend = make_onednn_backend(1);
  constexpr std::int64_t kSide = 64;
  const Allocation a(*backend, DType::f32, {1, kSide}), b(*backend, DType::f32, {kSide, kSide}),
      y(*backend, DType::f32, {1, kSide});
  backend->upload(a.view(), std::vector<float>(kSide, 1).data());
  b.view().data<float>()[5] = 1;  // row 0, column 5
  for (const bool transposed : {false, true}) {
    ops::Gemm op{
        .a = a.view(), .b = transposed ? b.view().transposed() : b.view(), .y = y.view(), .constant_b = true};
    const Allocation workspace(*backend, std::max<std::size_t>(64, backend->workspace_bytes(op)));
    op.workspace =
        View(workspace.buffer(), DType::f32, {static_cast<std::int64_t>(workspace.buffer()->bytes / 4)});
    backend->run(op);
    EXPECT_EQ(y.view().data<float>()[transposed ? 0 : 5], 1);
    EXPECT_EQ(y.view().data<float>()[transposed ? 5 : 0], 0);
  }
}

TEST(Onednn, GeluFarFromZero) {
  const auto backend = make_onednn_backend(1);
  const Allocation x(*backend, DType::f32, {4}), y(*backend, DType::f32, {4});
  const float values[] = {-1000, -20, 20, 1000};
  backend->upload(x.view(), values);
  backend->run(ops::Activation{.x = x.view(), .y = y.view()});
  const float* result = y.view().data<float>();
  EXPECT_NEAR(result[0], 0, 1e-30);
  EXPECT_NEAR(result[1], 0, 1e-30);
  EXPECT_EQ(result[2], 20);
  EXPECT_EQ(result[3], 1000);
}

TEST(Onednn, SaysWhatItIs) {
  EXPECT_EQ(make_onednn_backend(1)->name(), "onednn");
  const std::string description = make_onednn_backend(2)->description();
  EXPECT_NE(description.find("oneDNN 2."), std::string::npos) << description;
  EXPECT_NE(description.find("2 threads"), std::string::npos) << description;
}

}  // namespace
}  // namespace vretnet
