// Models whose decays are learned: they start as their fixed twins, and a file keeps what they learned.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "tests/support/model_bench.h"
#include "tests/vision/vision_cases.h"
#include "vision/model_file.h"

namespace vretnet::vision {
namespace {

using layers::FormChoice;
using testing::worst_relative_error;

std::vector<ModelConfig> retention_models() {
  std::vector<ModelConfig> models;
  for (const ModelConfig& config : cases::all()) {
    if (config.mixer == MixerKind::retention && !config.learned_decay) models.push_back(config);
  }
  return models;
}

std::vector<double> logits(const ModelConfig& config, FormChoice form, double rate = 1) {
  const auto model = make_model(config);
  testing::ModelBench bench(*model, {.dtype = DType::f64, .form = form}, 2);
  std::vector<double> weights = model::initial_values(model->parameters(), 3);
  for (const layers::NamedTensor& tensor : model->parameters().tensors()) {
    if (!tensor.name.ends_with(".decay")) continue;
    for (std::int64_t h = 0; h < tensor.shape[0]; ++h) weights[tensor.offset + h] += std::log(rate);
  }
  bench.bench().set_weights(weights);
  return bench.logits();
}

class LearnedDecay : public ::testing::TestWithParam<ModelConfig> {};

// With the same seed, whatever the grid is scaled by: all other weights start alike. Decays that are twice as
// fast are another model, in all forms the same one.
TEST_P(LearnedDecay, StartsAsTheFixedModel) {
  ModelConfig learned = GetParam();
  learned.learned_decay = true;
  const std::vector<double> faster = logits(learned, FormChoice::parallel, 2);
  for (const FormChoice form : {FormChoice::parallel, FormChoice::chunkwise, FormChoice::recurrent}) {
    const std::vector<double> fixed = logits(GetParam(), form);
    EXPECT_LE(worst_relative_error(logits(learned, form), fixed), 1e-12);
    EXPECT_LE(worst_relative_error(logits(learned, form, 2), faster), 1e-10);
    EXPECT_GE(worst_relative_error(faster, fixed), 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Vision, LearnedDecay, ::testing::ValuesIn(retention_models()),
                         [](const auto& test) { return test.param.name; });

TEST(LearnedDecayFile, KeepsTheDecays) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("vretnet_learned_decay_" + std::to_string(getpid()) + ".safetensors");
  Description description;
  description.config = cases::local("local");
  description.config.learned_decay = true;
  description.config.in_chans = 3;
  description.preprocessing = default_preprocessing(description.config);
  description.class_names = {"a", "b", "c", "d"};
  const auto model = make_model(description.config);
  const std::vector<double> weights = testing::PassBench::random_weights(model->parameters());
  save_classifier(path, description, model->parameters(), {weights.begin(), weights.end()});
  const Classifier loaded = load_classifier(path);
  std::filesystem::remove(path);
  EXPECT_EQ(loaded.description.config, description.config);
  for (const char* name : {"blocks.0.retention.decay", "blocks.1.retention.decay"}) {
    const layers::NamedTensor& tensor = *model->parameters().find(name);
    EXPECT_EQ(tensor.shape, Shape{3});
    EXPECT_FALSE(tensor.decays) << "weight decay would pull every decay towards γ = 1/e";
    for (std::int64_t h = 0; h < 3; ++h) {
      EXPECT_EQ(loaded.values[tensor.offset + h], static_cast<float>(weights[tensor.offset + h])) << name;
    }
  }
}

}  // namespace
}  // namespace vretnet::vision
