// A state dict of timm's vit_tiny_patch16_224 as a file gives timm's logits, at 224 pixels and at 160.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/goldens/golden_model.h"
#include "vision/registry.h"
#include "vision/transfer.h"

namespace vretnet::goldens {
namespace {

class TimmGolden : public ::testing::TestWithParam<Machine> {
 protected:
  void SetUp() override {
    const vision::VisionModel model(vision::find_model_config(golden_.text("model")));
    const std::vector<float> weights = golden_weights(model.parameters(), golden_.seed());
    std::vector<model::TensorToWrite> tensors;
    for (const layers::NamedTensor& tensor : model.parameters().tensors()) {
      const auto part = std::span(weights).subspan(tensor.offset, tensor.shape.elements());
      tensors.push_back({tensor.name, model::StoredType::F32, extents(tensor.shape), std::as_bytes(part)});
      expect_start(tensor.name, part);
    }
    model::write_safetensors(path_, {}, tensors);
  }
  void TearDown() override { std::filesystem::remove(path_); }

  // The golden's samples show that these are the weights that timm had.
  void expect_start(const std::string& name, std::span<const float> weights) {
    if (!golden_.file().find("sample." + name)) return;
    const std::vector<double> sample = golden_.values("sample." + name);
    EXPECT_EQ(std::vector<double>(weights.begin(), weights.begin() + sample.size()), sample) << name;
    ++samples_;
  }

  void expect_logits(const vision::VisionModel& model, const std::vector<float>& weights) {
    const std::int64_t size = model.config().image_size[0];
    const std::string name = "logits_" + std::to_string(size);
    const std::int64_t batch = golden_.file().at(name).shape[0];
    GoldenSession session(model, GetParam(), weights, {});
    const std::vector<float> images = golden_images(model, golden_.seed(), 0, batch);
    const std::vector<double> found = session.download(session.session().forward(images.data(), batch));
    const std::vector<double> expected = golden_.values(name);
    ASSERT_EQ(found.size(), expected.size());
    double worst = 0;
    for (std::size_t i = 0; i < found.size(); ++i) worst = std::fmax(worst, std::abs(found[i] - expected[i]));
    EXPECT_LE(worst, GetParam().tolerance) << name;
    record_error(name, worst);
    EXPECT_EQ(std::count_if(found.begin(), found.end(), [](double x) { return std::isnan(x); }), 0);
  }

  const GoldenFile golden_{"timm_vit_tiny"};
  // "LogitsAt224Pixels_onednn_f32": tests may run side by side.
  static std::string test_name() {
    std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::replace(name.begin(), name.end(), '/', '_');
    return name;
  }
  const std::filesystem::path path_ =
      std::filesystem::path(::testing::TempDir()) / ("timm_golden_" + test_name() + ".safetensors");
  int samples_ = 0;
};

TEST_P(TimmGolden, LogitsAt224Pixels) {
  EXPECT_EQ(samples_, 5);
  const vision::Classifier classifier = vision::load_classifier(path_);
  expect_logits(*classifier.model, classifier.values);
}

TEST_P(TimmGolden, LogitsAt160Pixels) {
  const vision::Classifier classifier = vision::load_classifier(path_);
  vision::ModelConfig config = classifier.description.config;
  config.image_size = {160, 160};
  const auto model = vision::make_model(config);
  expect_logits(*model, vision::start_values(classifier, *model, 1).values);
}

INSTANTIATE_TEST_SUITE_P(Machines, TimmGolden,
                         ::testing::Values(Machine{"reference", DType::f32, 1e-4},
                                           Machine{"onednn", DType::f32, 1e-4}),
                         name_of_machine);

}  // namespace
}  // namespace vretnet::goldens
