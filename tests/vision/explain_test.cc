// Heat maps against what they claim to be.
#include "vision/explain.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/backends/reference/reference_backend.h"
#include "core/base/error.h"
#include "core/base/random.h"
#include "core/model/weights.h"
#include "core/retention/decay.h"
#include "tests/vision/vision_cases.h"

namespace vretnet::vision {
namespace {

class ExplainTest : public ::testing::Test {
 protected:
  // `change` may set weights by name.
  void make(
      const ModelConfig& config,
      const std::function<void(const std::string& name, float& value)>& change = [](auto&, float&) {}) {
    classifier_.model = make_model(config);
    classifier_.description.config = config;
    const layers::ParameterTable& table = classifier_.model->parameters();
    const std::vector<double> values = model::initial_values(table, 3);
    classifier_.values.assign(values.begin(), values.end());
    Random random(5);
    for (const layers::NamedTensor& tensor : table.tensors()) {
      for (std::int64_t i = 0; i < tensor.shape.elements(); ++i) {
        float& value = classifier_.values[static_cast<std::size_t>(tensor.offset + i)];
        value += static_cast<float>(0.05 * random.normal());
        change(tensor.name, value);
      }
    }
    weights_ = Allocation(*backend_, DType::f32, {table.elements()});
    model::upload_values(*backend_, weights_.view(), classifier_.values);
    pixels_.resize(static_cast<std::size_t>(classifier_.model->input_shape(1).elements()));
    for (float& pixel : pixels_) pixel = static_cast<float>(random.normal());
  }
  HeatMap map_of(Explanation kind, std::int64_t of_class) {
    Explainer explainer(classifier_, *backend_, weights_.view(), kind);
    explainer.look_at(pixels_.data());
    logits_ = explainer.logits();
    return explainer.explain(of_class);
  }

  // The logit of a class when one patch token is multiplied by `factor`.
  double logit_with(std::int64_t token, float factor, std::int64_t of_class) {
    const VisionModel& model = *classifier_.model;
    layers::TableCache tables(*backend_, DType::f32);
    layers::Pass pass(*backend_, model.parameters(), tables, weights_.view(), View(), {});
    const Allocation images(*backend_, DType::f32, model.input_shape(1));
    backend_->upload(images.view(), pixels_.data());
    constexpr std::size_t kPlenty = 1 << 22;
    const Allocation memory(*backend_, kPlenty);
    Arena arena(memory.buffer());
    pass.start(arena, {});
    Tensor tokens = model.embed(pass, images.view());
    float* first = tokens.view().data<float>() + token * model.config().width;
    for (std::int64_t i = 0; i < model.config().width; ++i) first[i] *= factor;
    const Tensor logits = model.classify(pass, std::move(tokens));
    return logits.view().data<float>()[of_class];
  }

  std::unique_ptr<Backend> backend_ = reference::make_reference_backend();
  Classifier classifier_;
  Allocation weights_;
  std::vector<float> pixels_, logits_;
};

TEST_F(ExplainTest, GradientIsWhatAPatchAddsToItsLogit) {
  ModelConfig config = cases::local("local");
  config.scan = Scan::bidirectional;
  make(config);
  constexpr std::int64_t kClass = 1;
  const HeatMap map = map_of(Explanation::gradient, kClass);
  ASSERT_EQ(static_cast<std::int64_t>(map.values.size()), config.rows() * config.columns());
  EXPECT_NEAR(logits_[kClass], logit_with(0, 1, kClass), 1e-6);
  std::vector<double> expected;
  double largest = 0;
  for (std::int64_t token = 0; token < config.tokens(); ++token) {
    constexpr float kStep = 0.01f;
    expected.push_back((logit_with(token, 1 + kStep, kClass) - logit_with(token, 1 - kStep, kClass)) /
                       (2 * kStep));
    largest = std::max(largest, std::abs(expected.back()));
  }
  ASSERT_GT(largest, 0);
  // f32's differences of logits of size 1 are good to 1e-7 / 0.02; second order adds a little.
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(map.values[i], expected[i] / largest, 2e-3) << i;
}

// With equal tokens all scores of a head are equal, and what a layer reads is its decay alone.
TEST_F(ExplainTest, RolloutOfEqualTokensIsTheDecay) {
  for (const Scan scan : {Scan::causal, Scan::bidirectional, Scan::cross}) {
    ModelConfig config = cases::classic("classic");
    config.depth = 1;
    config.heads = 4;
    config.width = 16;
    config.scan = scan;
    config.decay = ops::DecayKind::row;
    config.decay_speed = retention::DecaySpeed::fast;
    config.position = retention::Position::none;
    make(config, [](const std::string& name, float& value) {
      if (name == "patch_embed.proj.weight") value = 0;
    });
    const HeatMap map = map_of(Explanation::rollout, 0);

    const std::int64_t rows = config.rows(), columns = config.columns(), tokens = rows * columns;
    ASSERT_NE(rows, columns);
    const std::vector<double> deltas = retention::decay_complements(4, config.decay_speed);
    std::vector<double> expected(static_cast<std::size_t>(tokens), 0.5);  // of the identity
    for (std::int64_t head = 0; head < 4; ++head) {
      const bool by_columns = scan == Scan::cross && head >= 2,
                 backwards = scan == Scan::cross && head % 2 == 1;
      const ops::RetentionPattern pattern{.decay = config.decay,
                                          .bidirectional = scan == Scan::bidirectional,
                                          .row_width = by_columns ? rows : columns};
      const auto place = [&](std::int64_t token) {
        const std::int64_t n = by_columns ? token % columns * rows + token / columns : token;
        return backwards ? tokens - 1 - n : n;
      };
      for (std::int64_t n = 0; n < tokens; ++n) {
        double sum = 0;
        for (std::int64_t m = 0; m < tokens; ++m)
          sum += retention::decay_mask(pattern, deltas[static_cast<std::size_t>(head)], place(n), place(m));
        for (std::int64_t m = 0; m < tokens; ++m) {
          expected[static_cast<std::size_t>(m)] +=
              0.5 / 4 *
              retention::decay_mask(pattern, deltas[static_cast<std::size_t>(head)], place(n), place(m)) /
              sum;
        }
      }
    }
    const double largest = *std::max_element(expected.begin(), expected.end());
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(map.values[i], expected[i] / largest, 1e-4) << i;
  }
}

TEST_F(ExplainTest, RolloutNeedsRetention) {
  make(cases::vit("vit"));
  EXPECT_THROW(map_of(Explanation::rollout, 0), UsageError);
  EXPECT_EQ(map_of(Explanation::gradient, 0).values.size(),
            static_cast<std::size_t>(classifier_.model->config().tokens()));
}

TEST(Overlay, ReddensWhatSpeaksForAndKeepsTheRest) {
  Image picture = make_image(4, 2, 1);
  std::fill(picture.pixels.begin(), picture.pixels.end(), std::uint8_t(100));
  const Image out = overlay(picture, {1, 2, {1, 0}}, 16);  // two patches side by side
  EXPECT_EQ(out.width, 32);
  EXPECT_EQ(out.height, 16);
  EXPECT_EQ(out.channels, 3);
  const std::uint8_t *left = out.row(8), *right = out.row(8) + 31 * 3;
  EXPECT_EQ(left[0], 216);  // ¼·100 + ¾·255
  EXPECT_EQ(left[2], 25);
  EXPECT_EQ(right[0], 100);
  EXPECT_EQ(right[2], 100);
  const Image against = overlay(picture, {1, 1, {-1}}, 16);
  EXPECT_EQ(against.row(0)[0], 25);
  EXPECT_GT(against.row(0)[2], 150);
}

}  // namespace
}  // namespace vretnet::vision
