// Whole models: gradients against central differences, the three forms against one another, a fast backend
// against the reference in double.
#include <gtest/gtest.h>

#include "tests/support/finite_difference.h"
#include "tests/support/model_bench.h"
#include "tests/vision/vision_cases.h"

namespace vretnet::vision {
namespace {

using layers::FormChoice;
using testing::ModelBench;
using testing::worst_relative_error;

constexpr std::int64_t kBatch = 2;
constexpr double kStep = 3e-4, kGradientTolerance = 1e-7;  // of the largest gradient
constexpr double kFormsTolerance = 1e-10;
// A model chains about 60 ops of a few roundings each; gradients pass through twice as many.
constexpr double kFloatTolerance = 2e-5;
constexpr std::size_t kSamples = 5;  // of each tensor

layers::Pass::Options training(DType dtype, FormChoice form = FormChoice::automatic,
                               std::int64_t chunk_rows = 1) {
  return {.mode = layers::Mode::training, .dtype = dtype, .form = form, .chunk_rows = chunk_rows};
}

class AllModels : public ::testing::TestWithParam<ModelConfig> {};

TEST_P(AllModels, GradientsEqualCentralDifferences) {
  const auto model = make_model(GetParam());
  const layers::ParameterTable& table = model->parameters();
  ModelBench bench(*model, training(DType::f64), kBatch);
  const std::vector<double> gradients = bench.logits_and_gradients().second;
  ModelBench inference(*model, {.dtype = DType::f64}, kBatch);
  std::vector<double> weights = testing::PassBench::random_weights(table);
  const auto objective = [&] {
    inference.bench().set_weights(weights);
    return inference.objective();
  };
  double largest = 0;
  for (const double gradient : gradients) largest = std::max(largest, std::abs(gradient));
  for (const layers::NamedTensor& tensor : table.tensors()) {
    const auto count = static_cast<std::size_t>(tensor.shape.elements());
    for (std::size_t i = 0; i < count; i += std::max<std::size_t>(1, count / kSamples)) {
      const std::size_t at = static_cast<std::size_t>(tensor.offset) + i;
      const double expected = testing::derivative(objective, weights[at], kStep).value;
      EXPECT_NEAR(gradients[at], expected, kGradientTolerance * largest) << tensor.name << " " << i;
    }
  }
}

TEST_P(AllModels, InferenceEqualsTraining) {
  const auto model = make_model(GetParam());
  ModelBench trained(*model, training(DType::f64), kBatch), inferred(*model, {.dtype = DType::f64}, kBatch);
  EXPECT_EQ(trained.logits_and_gradients().first, inferred.logits());
}

// Whether an image stands alone in the batch or not does not matter.
TEST_P(AllModels, ImagesDoNotSeeOneAnother) {
  const auto model = make_model(GetParam());
  ModelBench bench(*model, {.dtype = DType::f64}, kBatch);
  const std::vector<double> both = bench.logits();
  const auto half = bench.images().size() / kBatch;
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
  ModelBench exact(*model, training(DType::f64), kBatch),
      fast(*model, training(DType::f32), kBatch, "onednn");
  const auto [logits, gradients] = exact.logits_and_gradients();
  const auto [fast_logits, fast_gradients] = fast.logits_and_gradients();
  EXPECT_LE(worst_relative_error(fast_logits, logits), kFloatTolerance);
  EXPECT_LE(worst_relative_error(fast_gradients, gradients), kFloatTolerance);
}

TEST_P(AllModels, FormsAgree) {
  if (GetParam().mixer != MixerKind::retention) GTEST_SKIP() << "softmax attention has one form";
  const auto model = make_model(GetParam());
  ModelBench parallel(*model, training(DType::f64, FormChoice::parallel), kBatch);
  const auto [logits, gradients] = parallel.logits_and_gradients();
  const auto compare = [&](FormChoice form, std::int64_t chunk_rows, const char* name) {
    ModelBench bench(*model, training(DType::f64, form, chunk_rows), kBatch);
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

}  // namespace
}  // namespace vretnet::vision
