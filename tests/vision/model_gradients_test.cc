// Whole models: gradients against central differences, the three forms against one another, a fast backend
// against the reference in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/support/finite_difference.h"
#include "tests/support/model_bench.h"
#include "tests/vision/vision_cases.h"

namespace vretnet::vision {
namespace {

using layers::FormChoice;
using testing::ModelBench;
using testing::worst_relative_error;

constexpr std::int64_t kModelBatch = 2;
constexpr double kStep = 1e-3, kGradientTolerance = 1e-8;  // of the whole gradient's length
constexpr double kFormsTolerance = 1e-10;
// A model chains about 60 ops of a few roundings each; gradients pass through twice as many.
constexpr double kFloatTolerance = 2e-5;

layers::Pass::Options training(DType dtype, FormChoice form = FormChoice::automatic,
                               std::int64_t chunk_rows = 0) {
  return {.mode = layers::Mode::training, .dtype = dtype, .form = form, .chunk_rows = chunk_rows};
}

class AllModels : public ::testing::TestWithParam<ModelConfig> {};
class RetNets : public ::testing::TestWithParam<ModelConfig> {};

double length(const std::vector<double>& values) {
  return std::sqrt(std::inner_product(values.begin(), values.end(), values.begin(), 0.0));
}

// For each tensor the derivative along a random direction in all of its elements.
TEST_P(AllModels, GradientsEqualCentralDifferences) {
  const auto model = make_model(GetParam());
  const layers::ParameterTable& table = model->parameters();
  ModelBench bench(*model, training(DType::f64), kModelBatch);
  const std::vector<double> gradients = bench.logits_and_gradients().second;
  ModelBench inference(*model, {.dtype = DType::f64}, kModelBatch);
  const std::vector<double> start = testing::PassBench::random_weights(table);
  Random random(9);
  for (const layers::NamedTensor& tensor : table.tensors()) {
    std::vector<double> direction(start.size(), 0.0);
    for (std::int64_t i = 0; i < tensor.shape.elements(); ++i) direction[tensor.offset + i] = random.normal();
    const double scale = 1 / length(direction);
    double place = 0;
    const auto objective = [&] {
      std::vector<double> weights = start;
      for (std::size_t i = 0; i < weights.size(); ++i) weights[i] += place * scale * direction[i];
      inference.bench().set_weights(weights);
      return inference.objective();
    };
    const double expected = testing::derivative(objective, place, kStep).value;
    const double found =
        scale * std::inner_product(direction.begin(), direction.end(), gradients.begin(), 0.0);
    EXPECT_NEAR(found, expected, kGradientTolerance * length(gradients)) << tensor.name;
  }
}

TEST_P(AllModels, InferenceEqualsTraining) {
  const auto model = make_model(GetParam());
  ModelBench trained(*model, training(DType::f64), kModelBatch),
      inferred(*model, {.dtype = DType::f64}, kModelBatch);
  EXPECT_EQ(trained.logits_and_gradients().first, inferred.logits());
}

// Whether an image stands alone in the batch or not does not matter.
TEST_P(AllModels, ImagesDoNotSeeOneAnother) {
  const auto model = make_model(GetParam());
  ModelBench bench(*model, {.dtype = DType::f64}, kModelBatch);
  const std::vector<double> both = bench.logits();
  const auto half = bench.images().size() / kModelBatch;
  const std::vector<double> second(bench.images().begin() + static_cast<std::ptrdiff_t>(half),
                                   bench.images().end());
  const std::vector<double> alone = bench.logits_of(second, 1);
  EXPECT_LE(
      worst_relative_error(alone, {both.begin() + static_cast<std::ptrdiff_t>(alone.size()), both.end()}),
      1e-13);
}

TEST_P(AllModels, OneDnnEqualsTheReference) {
  const std::vector<std::string> available = available_backends();
  if (std::find(available.begin(), available.end(), "onednn") == available.end()) {
    GTEST_SKIP() << "this build has no oneDNN backend";
  }
  const auto model = make_model(GetParam());
  ModelBench exact(*model, training(DType::f64), kModelBatch),
      fast(*model, training(DType::f32), kModelBatch, "onednn");
  const auto [logits, gradients] = exact.logits_and_gradients();
  const auto [fast_logits, fast_gradients] = fast.logits_and_gradients();
  EXPECT_LE(worst_relative_error(fast_logits, logits), kFloatTolerance);
  EXPECT_LE(worst_relative_error(fast_gradients, gradients), kFloatTolerance);
}

TEST_P(RetNets, FormsAgree) {
  const auto model = make_model(GetParam());
  ModelBench parallel(*model, training(DType::f64, FormChoice::parallel), kModelBatch);
  const auto [logits, gradients] = parallel.logits_and_gradients();
  const auto compare = [&](FormChoice form, std::int64_t chunk_rows, const char* name) {
    ModelBench bench(*model, training(DType::f64, form, chunk_rows), kModelBatch);
    const auto [other_logits, other_gradients] = bench.logits_and_gradients();
    EXPECT_LE(worst_relative_error(other_logits, logits), kFormsTolerance) << name;
    EXPECT_LE(worst_relative_error(other_gradients, gradients), kFormsTolerance) << name;
  };
  compare(FormChoice::chunkwise, 1, "chunkwise, one row");
  compare(FormChoice::chunkwise, 2, "chunkwise, two rows and a shorter last chunk");
  compare(FormChoice::recurrent, 1, "recurrent");
}

INSTANTIATE_TEST_SUITE_P(Vision, AllModels, ::testing::ValuesIn(cases::all()),
                         [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(Vision, RetNets, ::testing::ValuesIn(cases::retnets()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace vretnet::vision
