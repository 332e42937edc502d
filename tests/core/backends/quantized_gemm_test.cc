// QuantizedGemm of the oneDNN backend: integers exactly, where they meet the edges of their range.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/backends/available.h"
#include "core/base/random.h"
#include "core/ops/workspace.h"
#include "tests/support/instruction_sets.h"

namespace vretnet {
namespace {

struct Problem {
  std::int64_t rows, columns, depth;
  std::vector<float> a;             // [rows, depth]
  std::vector<std::int8_t> weight;  // [columns, depth]
  float a_scale = 1;
};

std::vector<float> run(Backend& backend, const Problem& problem, const Allocation& weight) {
  const auto [rows, columns, depth, values, integers, step] = problem;
  const Allocation a(backend, DType::f32, {rows, depth}), y(backend, DType::f32, {rows, columns});
  const Allocation a_scale(backend, DType::f32, {1}), b_scale(backend, DType::f32, {columns});
  backend.upload(a.view(), values.data());
  backend.upload(a_scale.view(), &step);
  backend.fill(b_scale.view(), 1);
  ops::Op op = ops::QuantizedGemm{.a = a.view(),
                                  .b = weight.view().transposed(),
                                  .y = y.view(),
                                  .a_scale = a_scale.view(),
                                  .b_scale = b_scale.view()};
  ops::validate(op);
  const Allocation workspace(
      backend, DType::f32,
      ops::workspace_shape(std::max<std::size_t>(backend.workspace_bytes(op), 4), DType::f32));
  set_workspace(op, workspace.view());
  backend.run(op);
  std::vector<float> result(static_cast<std::size_t>(rows * columns));
  backend.download(y.view(), result.data());
  return result;
}
std::vector<float> run(Backend& backend, const Problem& problem) {
  const Allocation weight(backend, DType::s8, {problem.columns, problem.depth});
  backend.upload(weight.view(), problem.weight.data());
  return run(backend, problem, weight);
}

// In whole numbers, with the step a power of two, so that every f32 on the way is exact.
std::vector<float> expected(const Problem& problem) {
  std::vector<float> result;
  for (std::int64_t row = 0; row < problem.rows; ++row) {
    for (std::int64_t column = 0; column < problem.columns; ++column) {
      std::int64_t sum = 0;
      for (std::int64_t k = 0; k < problem.depth; ++k) {
        const double quotient =
            static_cast<double>(problem.a[static_cast<std::size_t>(row * problem.depth + k)]) /
            static_cast<double>(problem.a_scale);
        const double floor = std::floor(quotient), rest = quotient - floor;
        const bool up = rest > 0.5 || (rest == 0.5 && std::fmod(floor, 2) != 0);
        const auto q = static_cast<std::int64_t>(std::clamp(up ? floor + 1 : floor, -127.0, 127.0));
        sum += q * problem.weight[static_cast<std::size_t>(column * problem.depth + k)];
      }
      result.push_back(static_cast<float>(sum) * problem.a_scale);
    }
  }
  return result;
}

Problem random_problem(std::int64_t rows, std::int64_t columns, std::int64_t depth) {
  Problem problem{.rows = rows, .columns = columns, .depth = depth, .a_scale = 0.25f};
  Random random(11);
  for (std::int64_t i = 0; i < rows * depth; ++i) {
    // Eighths up to ±36: every second number of the finer steps is a tie, some lie beyond 127 steps.
    problem.a.push_back(static_cast<float>(std::round(random.uniform(-290, 290))) / 8);
  }
  for (std::int64_t i = 0; i < columns * depth; ++i) {
    problem.weight.push_back(static_cast<std::int8_t>(std::round(random.uniform(-128, 127))));
  }
  return problem;
}

class QuantizedGemmTest : public ::testing::TestWithParam<int> {
 protected:
  std::unique_ptr<Backend> backend_ = make_backend("onednn", GetParam());
};
INSTANTIATE_TEST_SUITE_P(Threads, QuantizedGemmTest, ::testing::Values(1, 2, 3));

TEST_P(QuantizedGemmTest, RoundsTiesToEvenAndCutsOnEveryInstructionSet) {
  for (const auto& [rows, columns] :
       {std::pair{1, 70}, std::pair{5, 1000}, std::pair{67, 130}, std::pair{300, 33},
        // The rest of one cut is as large as the panels of another.
        std::pair{400, 33}, std::pair{144, 33}, std::pair{72, 33}}) {
    const Problem problem = random_problem(rows, columns, 61);
    testing::for_each_instruction_set([&] { EXPECT_EQ(run(*backend_, problem), expected(problem)); });
  }
}

// Pairs of such products pass 16 bits, in which instructions before VNNI saturate; their sums stay exact in
// f32.
TEST_P(QuantizedGemmTest, TheLargestProductsDoNotSaturate) {
  for (const float sign : {1.0f, -1.0f}) {
    Problem problem{.rows = 40, .columns = 96, .depth = 3072};
    problem.a.assign(static_cast<std::size_t>(problem.rows * problem.depth), 1000 * sign);
    problem.weight.assign(static_cast<std::size_t>(problem.columns * problem.depth), -128);
    const std::vector<float> y = run(*backend_, problem);
    for (const float value : y) ASSERT_EQ(value, sign * 127 * -128 * 3072);
  }
}

TEST_P(QuantizedGemmTest, ForgetsItsCopyOfTheWeightsWhenTold) {
  Problem problem = random_problem(20, 40, 16);
  const Allocation weight(*backend_, DType::s8, {problem.columns, problem.depth});
  backend_->upload(weight.view(), problem.weight.data());
  EXPECT_EQ(run(*backend_, problem, weight), expected(problem));
  for (std::int8_t& value : problem.weight) value = static_cast<std::int8_t>(value / 2);
  backend_->upload(weight.view(), problem.weight.data());
  backend_->weights_changed();
  EXPECT_EQ(run(*backend_, problem, weight), expected(problem));
}

TEST(QuantizedGemm, IsRefusedWhereItsViewsDoNotFit) {
  Buffer buffer;
  const View a(&buffer, DType::f32, {2, 3}), b(&buffer, DType::s8, {3, 4}), y(&buffer, DType::f32, {2, 4}),
      a_scale(&buffer, DType::f32, {1}), b_scale(&buffer, DType::f32, {4});
  const ops::QuantizedGemm good{.a = a, .b = b, .y = y, .a_scale = a_scale, .b_scale = b_scale};
  ops::validate(good);
  ops::QuantizedGemm op = good;
  op.b = View(&buffer, DType::f32, {3, 4});
  EXPECT_DEATH(ops::validate(op), "QuantizedGemm: b is f32, s8 was expected");
  op = good;
  op.a = View(&buffer, DType::s8, {2, 3});
  EXPECT_DEATH(ops::validate(op), "QuantizedGemm: a is s8");
  op = good;
  op.b_scale = View();
  EXPECT_DEATH(ops::validate(op), "b_scale is missing");
  op = good;
  op.a_scale = b_scale;
  EXPECT_DEATH(ops::validate(op), "a_scale");
  op = good;
  op.a = View(&buffer, DType::f32, {2, 70000});
  op.b = View(&buffer, DType::s8, {70000, 4});
  EXPECT_DEATH(ops::validate(op), "a depth of 70000");
}

}  // namespace
}  // namespace vretnet
