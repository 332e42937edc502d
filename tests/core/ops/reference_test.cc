// What the conformance table cannot say about the reference: dtypes, memory, and ops held against numbers
// made elsewhere.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/backends/reference/reference_backend.h"
#include "core/backends/reference/tracked.h"
#include "core/base/error.h"

// AddressSanitizer ends the program where there is no memory, unless it is told to do as malloc does.
extern "C" const char* __asan_default_options() {
  return "allocator_may_return_null=1";
}  // NOLINT

namespace vretnet::reference {
namespace {

class Reference : public ::testing::Test {
 protected:
  Allocation tensor(const Shape& shape, const std::vector<double>& values = {}) {
    Allocation memory(*backend_, DType::f64, shape);
    if (!values.empty()) backend_->upload(memory.view(), values.data());
    return memory;
  }
  std::vector<double> values(const Allocation& memory) {
    std::vector<double> values(static_cast<std::size_t>(memory.view().elements()));
    backend_->download(memory.view(), values.data());
    return values;
  }
  static void expect_near(const std::vector<double>& actual, const std::vector<double>& expected) {
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 1e-12) << i;
  }

  std::unique_ptr<Backend> backend_ = make_reference_backend();
};

TEST_F(Reference, ConvertsBetweenDtypes) {
  const Allocation wide = tensor({3}, {1.0 / 3, -2, 1e-3});
  const Allocation narrow(*backend_, DType::f32, {3}), back = tensor({3});
  backend_->run(ops::Convert{.x = wide.view(), .y = narrow.view()});
  backend_->run(ops::Convert{.x = narrow.view(), .y = back.view()});
  EXPECT_EQ(values(back), (std::vector<double>{1.0f / 3.0f, -2, 1e-3f}));
}

TEST_F(Reference, SaysHowMuchMemoryThereIsNot) {
  try {
    backend_->allocate(std::numeric_limits<std::size_t>::max() / 2);
    FAIL() << "half of all addresses were given";
  } catch (const RunError& error) {
    EXPECT_NE(std::string(error.what()).find("9223372036854775807"), std::string::npos) << error.what();
  }
}

TEST_F(Reference, MemoryIsAligned) {
  for (std::size_t bytes : {0u, 1u, 100u}) {
    void* data = backend_->allocate(bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % 64, 0u);
    backend_->release(data);
  }
}

TEST_F(Reference, Convolution) {  // 1 … 9, a kernel of ones and a two, stride 2, one row and column of zeros
  const Allocation x = tensor({1, 3, 3, 1}, {1, 2, 3, 4, 5, 6, 7, 8, 9}),
                   weight = tensor({1, 1, 2, 2}, {1, 1, 1, 2});
  const Allocation bias = tensor({1}, {0.5}), y = tensor({1, 2, 2, 1});
  backend_->run(ops::Convolution{.x = x.view(),
                                 .weight = weight.view(),
                                 .bias = bias.view(),
                                 .y = y.view(),
                                 .stride = 2,
                                 .padding = {.top = 1, .left = 1}});
  expect_near(values(y), {2 * 1 + 0.5, 2 + 2 * 3 + 0.5, 4 + 2 * 7 + 0.5, 5 + 6 + 8 + 2 * 9 + 0.5});
}

TEST_F(Reference, PatchesLieChannelByChannel) {
  const Allocation x = tensor({1, 2, 4, 2}, {0, 10, 1, 11, 2, 12, 3, 13, 4, 14, 5, 15, 6, 16, 7, 17});
  const Allocation y = tensor({1, 2, 8});
  backend_->run(ops::Patches{.x = x.view(), .y = y.view(), .patch = 2});
  expect_near(values(y), {0, 1, 4, 5, 10, 11, 14, 15, 2, 3, 6, 7, 12, 13, 16, 17});
}

TEST_F(Reference, ActivationsAreExact) {  // values of the error function and of 1/(1+e⁻¹), to all digits
  const Allocation x = tensor({3}, {1, -1, 0}), y = tensor({3});
  backend_->run(ops::Activation{.x = x.view(), .y = y.view(), .kind = ops::ActivationKind::gelu});
  expect_near(values(y), {0.8413447460685429, -0.15865525393145707, 0});
  backend_->run(ops::Activation{.x = x.view(), .y = y.view(), .kind = ops::ActivationKind::silu});
  expect_near(values(y), {0.7310585786300049, -0.2689414213699951, 0});
}

TEST_F(Reference, CrossEntropyIsMinusTheLogarithmOfTheProbability) {
  const Allocation logits = tensor({1, 2}, {std::log(3.0), 0}), targets = tensor({1, 2}, {1, 0}),
                   loss = tensor({1});
  const Allocation gradient = tensor({1, 2});
  backend_->run(ops::CrossEntropy{
      .logits = logits.view(), .targets = targets.view(), .loss = loss.view(), .d_logits = gradient.view()});
  expect_near(values(loss), {-std::log(0.75)});
  expect_near(values(gradient), {-0.25, 0.25});
}

TEST_F(Reference, AdamWTakesAStepOfTheLearningRateFirst) {
  const Allocation parameter = tensor({2}, {1, -1}), gradient = tensor({2}, {3, -0.01}), m = tensor({2}),
                   v = tensor({2});
  const Allocation scalars = tensor({ops::kStepScalars}, {0.1, 1 - 0.9f, 1 - 0.999f, 0});
  backend_->run(ops::AdamW{.parameter = parameter.view(),
                           .gradient = gradient.view(),
                           .first_moment = m.view(),
                           .second_moment = v.view(),
                           .step_scalars = scalars.view(),
                           .epsilon = 0});
  for (std::size_t i = 0; i < 2; ++i) {  // m/(1−β₁) = g and v/(1−β₂) = g²: a step of lr·sign(g)
    EXPECT_NEAR(values(parameter)[i], i == 0 ? 0.9 : -0.9, 1e-6);
  }
}

TEST(Tracked, CountsRoundings) {
  const Tracked a(3.0), b(5.0);
  EXPECT_EQ((a + b).error, 8);
  EXPECT_EQ((a - b).error, 8) << "a difference may hide terms much larger than itself";
  EXPECT_EQ((a * b).error, 15);
  EXPECT_EQ((a * b + a).error, 15 + 18);
  EXPECT_EQ(Tracked(0.5).error, 0);
  EXPECT_EQ(Tracked(0.1).error, 0.1) << "f32 rounds 0.1";
  EXPECT_EQ(sqrt(Tracked(4.0)).error, 2);
}

}  // namespace
}  // namespace vretnet::reference
