// Whole models on integers: the layers that are chosen run so, and the logits stay near those of f32.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "core/backends/available.h"
#include "core/base/random.h"
#include "core/model/session.h"
#include "core/model/weights.h"
#include "core/ops/profiled_backend.h"
#include "core/training/quantize.h"
#include "vision/registry.h"
#include "vision/vision_model.h"

namespace vretnet::vision {
namespace {

constexpr std::int64_t kQuantizedBatch = 4;

// The same images, twice an epoch.
class TwoBatches : public training::BatchSource {
 public:
  explicit TwoBatches(const std::vector<float>& images) { batch_.images = images.data(); }
  std::int64_t size() const override { return 2 * kQuantizedBatch; }
  std::int64_t batches() const override { return 2; }
  std::int64_t batch_size() const override { return kQuantizedBatch; }
  void start_epoch(std::int64_t, std::int64_t first_batch) override { next_ = first_batch; }
  const training::Batch* next() override { return next_++ < batches() ? &batch_ : nullptr; }
  const std::vector<training::SkippedSample>& skipped() const override { return skipped_; }

 private:
  training::Batch batch_{.count = kQuantizedBatch};
  std::int64_t next_ = 0;
  std::vector<training::SkippedSample> skipped_;
};

class QuantizedModelTest : public ::testing::TestWithParam<std::string> {
 protected:
  QuantizedModelTest() : model_(make_model(find_model_config(GetParam()))) {
    const auto values = model::initial_values(model_->parameters(), 3);
    values_.assign(values.begin(), values.end());
    Random random(4);  // first weights of a head may be zeros
    const layers::NamedTensor& head = *model_->parameters().find("head.weight");
    for (std::int64_t i = 0; i < head.shape.elements(); ++i) {
      values_[static_cast<std::size_t>(head.offset + i)] = static_cast<float>(random.normal());
    }
    for (std::int64_t i = 0; i < model_->input_shape(kQuantizedBatch).elements(); ++i) {
      images_.push_back(static_cast<float>(random.normal()));
    }
  }
  bool in_block(layers::ParameterId id) const {
    return model_->parameters().parts(id).front().name.starts_with("blocks.");
  }
  model::QuantizedParameters quantize(Backend& backend) const {
    TwoBatches source(images_);
    return training::quantize_parameters(*model_, backend, values_, {}, source,
                                         [&](layers::ParameterId id) { return in_block(id); });
  }
  std::vector<float> logits(Backend& backend, const model::QuantizedParameters& quantized) const {
    const model::BoundWeights weights(backend, model_->parameters(), values_, quantized);
    model::Session session(*model_, backend, weights.view(), View(), weights.with({}));
    const View result = session.forward(images_.data(), kQuantizedBatch);
    std::vector<float> host(static_cast<std::size_t>(result.elements()));
    backend.download(result, host.data());
    return host;
  }
  static double distance(const std::vector<float>& a, const std::vector<float>& b) {
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
      size += std::pow(static_cast<double>(b[i]), 2);
    }
    return std::sqrt(difference / size);
  }

  std::unique_ptr<VisionModel> model_;
  std::vector<float> values_, images_;
};
INSTANTIATE_TEST_SUITE_P(Models, QuantizedModelTest,
                         ::testing::Values("vretnet_pico_patch4_28", "vretnet_pico_patch4_28_local",
                                           "vit_pico_patch4_28", "vit_pico_patch4_28_local"));

TEST_P(QuantizedModelTest, StaysNearF32AndRunsFourProductsABlockOnIntegers) {
  const std::unique_ptr<Backend> backend = make_backend("onednn", 2);
  const model::QuantizedParameters quantized = quantize(*backend);
  EXPECT_EQ(quantized.size(), static_cast<std::size_t>(4 * model_->config().depth));
  const std::vector<float> expected = logits(*backend, {});
  ProfiledBackend profiled(*backend);
  const std::vector<float> actual = logits(profiled, quantized);
  std::map<std::string, std::int64_t> calls;
  for (const OpProfile& row : profiled.profile()) calls[row.op] = row.calls;
  EXPECT_EQ(calls["QuantizedGemm"], 4 * model_->config().depth);
  // Steps of 1/127 of the range in 16 layers: some per cent. Without them the logits would be the same.
  EXPECT_GT(distance(actual, expected), 1e-5);
  EXPECT_LT(distance(actual, expected), 0.05);
}

TEST_P(QuantizedModelTest, IsTheReferencesUpToRoundingsOfTheInputs) {
  const std::unique_ptr<Backend> backend = make_backend("onednn", 2),
                                 reference = make_backend("reference", 1);
  const model::QuantizedParameters quantized = quantize(*backend);
  // Inputs that differ in their last bits may be rounded to neighbouring integers, now and then.
  EXPECT_LT(distance(logits(*backend, quantized), logits(*reference, quantized)), 0.01);
}

TEST_P(QuantizedModelTest, CostsFindTheLayerWithAnOutlier) {
  const std::unique_ptr<Backend> backend = make_backend("onednn", 2);
  model::QuantizedParameters quantized = quantize(*backend);
  const layers::ParameterId spoiled = std::next(quantized.begin(), 2)->first;
  quantized.at(spoiled).input_scale *= 60;
  TwoBatches source(images_);
  const auto costs = training::quantization_costs(*model_, *backend, values_, quantized, {}, source);
  ASSERT_EQ(costs.size(), quantized.size());
  EXPECT_EQ(costs.front().parameter, spoiled);
  EXPECT_GT(costs.front().cost, costs.back().cost);
}

}  // namespace
}  // namespace vretnet::vision
