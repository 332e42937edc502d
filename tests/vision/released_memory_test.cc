// Pass::Options::poison_released: no model reads activations that it has given back, or has not written yet,
// and one that did would be noticed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/model/session.h"
#include "tests/support/pass_bench.h"
#include "tests/vision/vision_cases.h"

namespace vretnet::vision {
namespace {

constexpr std::int64_t kPictures = 2;

// A model with its weights on a backend, and pictures.
class PoisonBench {
 public:
  PoisonBench(const VisionModel& model, const std::string& backend)
      : model_(model),
        backend_(make_backend(backend, 1)),
        weights_(*backend_, DType::f32, {model.parameters().elements()}),
        gradients_(*backend_, DType::f32, {model.parameters().elements()}),
        d_logits_(*backend_, DType::f32, {kPictures, model.classes()}),
        pixels_(static_cast<std::size_t>(model.input_shape(kPictures).elements())) {
    model::upload_values(*backend_, weights_.view(), testing::PassBench::random_weights(model.parameters()));
    backend_->fill(d_logits_.view(), 0.5);
    Random random(5);
    for (float& pixel : pixels_) pixel = static_cast<float>(random.uniform(-1, 1));
  }

  bool runs_in(DType dtype) const { return backend_->runs_in(dtype); }
  // Of the second call, whose memory the first one has used.
  std::vector<float> logits(const layers::Pass::Options& options) {
    model::Session session(model_, *backend_, weights_.view(), View(), options);
    session.forward(pixels_.data(), kPictures);
    return model::download_values<float>(*backend_, session.forward(pixels_.data(), kPictures));
  }
  std::vector<float> gradients(const layers::Pass::Options& options) {
    model::Session session(model_, *backend_, weights_.view(), gradients_.view(), options);
    backend_->fill(gradients_.view(), 0);
    for (int step = 0; step < 2; ++step) {
      session.forward(pixels_.data(), kPictures);
      session.backward(d_logits_.view());
    }
    return model::download_values<float>(*backend_, gradients_.view());
  }

 private:
  const VisionModel& model_;
  std::unique_ptr<Backend> backend_;
  Allocation weights_, gradients_, d_logits_;
  std::vector<float> pixels_;
};

class ReleasedMemory : public ::testing::TestWithParam<std::tuple<std::string, ModelConfig>> {};

TEST_P(ReleasedMemory, IsReadByNoModel) {
  const auto& [backend, config] = GetParam();
  const auto model = make_model(config);
  PoisonBench bench(*model, backend);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    if (!bench.runs_in(dtype)) continue;
    SCOPED_TRACE(name_of(dtype));
    for (const std::int64_t band_tokens : {0, 3}) {  // whole, and by a stream where the model can
      layers::Pass::Options options{.dtype = dtype, .band_tokens = band_tokens};
      const std::vector<float> expected = bench.logits(options);
      options.poison_released = true;
      EXPECT_EQ(bench.logits(options), expected) << "bands of " << band_tokens;  // a NaN equals nothing
    }
    for (const bool checkpointing : {false, true}) {
      layers::Pass::Options options{.mode = layers::Mode::training, .dtype = dtype};
      options.checkpoint_activations = checkpointing;
      const std::vector<float> expected = bench.gradients(options);
      options.poison_released = true;
      EXPECT_EQ(bench.gradients(options), expected) << "checkpointing " << checkpointing;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ReleasedMemory,
                         ::testing::Combine(::testing::ValuesIn(available_backends()),
                                            ::testing::ValuesIn(cases::all())),
                         [](const auto& each) {
                           return std::get<0>(each.param) + "_" + std::get<1>(each.param).name;
                         });

// Gives its logits back and reads them afterwards.
class CarelessModel : public VisionModel {
 public:
  using VisionModel::VisionModel;
  Tensor forward(layers::Pass& pass, const View& images) const override {
    Tensor given_back = VisionModel::forward(pass, images);
    const View stale = given_back;
    Tensor logits = pass.make_wide(stale.shape());
    given_back = Tensor();
    pass.run(ops::Convert{.x = stale, .y = logits});
    return logits;
  }
};

TEST(Careless, ReadingReleasedMemoryIsNoticed) {
  const CarelessModel model(cases::classic("careless"));
  for (const std::string& backend : available_backends()) {
    PoisonBench bench(model, backend);
    const auto is_nan = [](float value) { return std::isnan(value); };
    const std::vector<float> unnoticed = bench.logits({});
    EXPECT_TRUE(std::none_of(unnoticed.begin(), unnoticed.end(), is_nan)) << backend;
    const std::vector<float> noticed = bench.logits({.poison_released = true});
    EXPECT_TRUE(std::all_of(noticed.begin(), noticed.end(), is_nan)) << backend;
  }
}

}  // namespace
}  // namespace vretnet::vision
