#include "vision/transfer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/base/error.h"
#include "tests/support/model_bench.h"
#include "tests/vision/vision_cases.h"
#include "vision/registry.h"

namespace vretnet::vision {
namespace {

ModelConfig small_vit(bool class_token, std::int64_t side) {
  ModelConfig config = find_model_config("vit_nano_patch4_32");
  config.image_size = {side, side};
  config.width = 32;
  config.heads = 2;
  config.depth = 2;
  config.classes = 5;
  config.class_token = class_token;
  if (class_token) config.pool = layers::Pool::token;
  return config;
}

// Random weights, and positions that change slowly from patch to patch, as learned ones do.
Classifier small_classifier(bool class_token) {
  Classifier file;
  file.description.config = small_vit(class_token, 32);
  file.model = make_model(file.description.config);
  const std::vector<double> weights = testing::PassBench::random_weights(file.model->parameters());
  file.values.assign(weights.begin(), weights.end());
  const layers::NamedTensor& positions = *file.model->parameters().find("pos_embed");
  const std::int64_t width = positions.shape[2], side = 8, prefix = class_token ? 1 : 0;
  for (std::int64_t patch = 0; patch < side * side; ++patch) {
    const double y = (static_cast<double>(patch / side) + 0.5) / side,
                 x = (static_cast<double>(patch % side) + 0.5) / side;
    for (std::int64_t c = 0; c < width; ++c) {
      const double wave = std::cos(std::numbers::pi * ((1 + c % 2) * y + (c % 3) * x));
      file.values[positions.offset + (prefix + patch) * width + c] = static_cast<float>(wave);
    }
  }
  return file;
}

// The same smooth picture at any size.
std::vector<double> smooth_image(std::int64_t side) {
  std::vector<double> image;
  for (std::int64_t row = 0; row < side; ++row) {
    for (std::int64_t column = 0; column < side; ++column) {
      const double y = (static_cast<double>(row) + 0.5) / static_cast<double>(side),
                   x = (static_cast<double>(column) + 0.5) / static_cast<double>(side);
      for (int channel = 0; channel < 3; ++channel) {
        image.push_back(std::cos(std::numbers::pi * (y + 0.5 * channel)) + std::sin(2 * x));
      }
    }
  }
  return image;
}

std::vector<double> logits(const VisionModel& model, const std::vector<float>& values,
                           const std::vector<double>& image) {
  testing::ModelBench bench(model, {.dtype = DType::f64}, 1);
  bench.bench().set_weights({values.begin(), values.end()});
  return bench.logits_of(image, 1);
}
std::vector<double> logits(const VisionModel& model, const std::vector<float>& values) {
  return logits(model, values, smooth_image(model.config().image_size[0]));
}

// 8 × 8 squares of one colour each, at any size: patches are the same, but there are more of them.
std::vector<double> mosaic(std::int64_t side) {
  std::vector<double> image;
  for (std::int64_t row = 0; row < side; ++row) {
    for (std::int64_t column = 0; column < side; ++column) {
      Random random(
          3, {static_cast<std::uint64_t>(row * 8 / side), static_cast<std::uint64_t>(column * 8 / side)});
      for (int channel = 0; channel < 3; ++channel) image.push_back(random.normal());
    }
  }
  return image;
}

TEST(StartValues, TheSameModelIsUnchanged) {
  for (const bool class_token : {false, true}) {
    const Classifier file = small_classifier(class_token);
    const StartValues start = start_values(file, *make_model(file.description.config), 3);
    EXPECT_EQ(start.values, file.values);
    EXPECT_FALSE(start.resampled);
    EXPECT_FALSE(start.new_head);
  }
}

// A patch of the larger image holds less of it, so that the logits are near, not equal (a third and a tenth
// of what a wrong order makes of them, measured); the numbers of a resampled model are proved by timm's at
// 160 pixels in tests/goldens.
TEST(StartValues, AtTwiceTheSizeASmoothImageLooksSimilar) {
  for (const bool class_token : {false, true}) {
    const Classifier file = small_classifier(class_token);
    const auto larger = make_model(small_vit(class_token, 64));
    const StartValues start = start_values(file, *larger, 3);
    EXPECT_TRUE(start.resampled);
    const std::vector<double> small = logits(*file.model, file.values), large = logits(*larger, start.values);
    // Positions in a wrong order, as a mistake in the resampling would put them.
    Classifier wrong = small_classifier(class_token);
    const layers::NamedTensor& positions = *file.model->parameters().find("pos_embed");
    std::reverse(wrong.values.begin() + positions.offset,
                 wrong.values.begin() + positions.offset + positions.shape.elements());
    const std::vector<double> other = logits(*larger, start_values(wrong, *larger, 3).values);
    double distance = 0, other_distance = 0;
    for (std::size_t i = 0; i < small.size(); ++i) {
      distance = std::max(distance, std::abs(large[i] - small[i]));
      other_distance = std::max(other_distance, std::abs(other[i] - small[i]));
    }
    EXPECT_LT(distance, 0.5 * other_distance) << (class_token ? "with" : "without") << " a class token";
  }
}

TEST(StartValues, OnlyPositionsAreResampled) {
  const Classifier file = small_classifier(true);
  ModelConfig oblong = file.description.config;
  oblong.image_size = {48, 24};
  const auto model = make_model(oblong);
  const std::vector<float> values = start_values(file, *model, 3).values;
  for (const layers::NamedTensor& tensor : model->parameters().tensors()) {
    const layers::NamedTensor& original = *file.model->parameters().find(tensor.name);
    // The class token's position comes first and stays.
    const std::int64_t same = tensor.name == "pos_embed" ? oblong.width : tensor.shape.elements();
    for (std::int64_t i = 0; i < same; ++i) {
      ASSERT_EQ(values[tensor.offset + i], file.values[original.offset + i]) << tensor.name;
    }
  }
}

TEST(StartValues, OtherClassesGiveANewHead) {
  const Classifier file = small_classifier(false);
  ModelConfig other = file.description.config;
  other.classes = 3;
  EXPECT_TRUE(start_values(file, *make_model(other), 3).new_head);
  other.width = 64;
  EXPECT_THROW(start_values(file, *make_model(other), 3), UsageError);
}

TEST(StartValues, FixedDecaysAreWhereLearnedOnesStart) {
  Classifier file;
  file.description.config = cases::classic("causal");
  file.model = make_model(file.description.config);
  const std::vector<double> weights = testing::PassBench::random_weights(file.model->parameters());
  file.values.assign(weights.begin(), weights.end());
  ModelConfig other = file.description.config;
  other.learned_decay = true;
  const auto model = make_model(other);
  const StartValues start = start_values(file, *model, 3);
  EXPECT_TRUE(start.new_decays);
  EXPECT_FALSE(start.new_head);
  const std::vector<double> first = model::initial_values(model->parameters(), 3);
  for (const layers::NamedTensor& tensor : model->parameters().tensors()) {
    const layers::NamedTensor* before = file.model->parameters().find(tensor.name);
    ASSERT_EQ(before == nullptr, tensor.name.ends_with(".retention.decay")) << tensor.name;
    for (std::int64_t i = 0; i < tensor.shape.elements(); ++i) {
      const float expected =
          before ? file.values[before->offset + i] : static_cast<float>(first[tensor.offset + i]);
      ASSERT_EQ(start.values[tensor.offset + i], expected) << tensor.name;
    }
  }
}

TEST(StartValues, LearnedDecaysAreNotDropped) {
  Classifier file;
  file.description.config = cases::classic("causal");
  file.description.config.learned_decay = true;
  file.model = make_model(file.description.config);
  const std::vector<double> first = model::initial_values(file.model->parameters(), 3);
  file.values.assign(first.begin(), first.end());
  ModelConfig fixed = file.description.config;
  fixed.learned_decay = false;
  try {
    start_values(file, *make_model(fixed), 3);
    FAIL() << "the decays were dropped";
  } catch (const UsageError& error) {
    const std::string text = error.what();
    EXPECT_TRUE(text.starts_with("'blocks.0.retention.decay' is [")) << text;
    EXPECT_TRUE(text.ends_with("], the changed model has none: what was learned would be lost")) << text;
  }
}

TEST(KeepBaseGrid, NamesTheGridOfTheModelBefore) {
  ModelConfig small = find_model_config("vretnet_pico_patch4_32_local"), large = small;
  keep_base_grid(large, small);
  EXPECT_EQ(large, small) << "the same size";
  large.image_size = {48, 64};
  keep_base_grid(large, small);
  EXPECT_EQ(large.base_grid, (std::array<std::int64_t, 2>{8, 8}));
  EXPECT_EQ(large.grid_scale(), (retention::GridScale{1.5, 2}));
  ModelConfig larger = large;
  larger.image_size = {96, 96};
  keep_base_grid(larger, large);
  EXPECT_EQ(larger.base_grid, large.base_grid) << "the first one stays";
  larger.base_grid = {0, 0};
  larger.image_size = large.image_size;
  keep_base_grid(larger, large);
  EXPECT_EQ(larger.base_grid, large.base_grid) << "0 is the file's own";
  larger.base_grid = {12, 16};
  keep_base_grid(larger, large);
  EXPECT_EQ(larger.base_grid, (std::array<std::int64_t, 2>{12, 16})) << "asked for";
  ModelConfig twin = small_vit(false, 64);
  keep_base_grid(twin, small_vit(false, 32));
  EXPECT_EQ(twin, small_vit(false, 64)) << "attention has nothing to scale";
}

// The same patches, four for one: what a model says of them is nearer to what it says of the small picture
// where its decays and rotations are laid out over that one's grid.
TEST(AtImageSize, ScaledDecaysAnswerMoreAlike) {
  for (const bool raster : {false, true}) {
    ModelConfig config = find_model_config("vretnet_pico_patch4_32");
    config.width = 32;
    config.heads = 2;
    config.depth = 2;
    config.classes = 5;
    if (!raster) {
      config.scan = Scan::bidirectional;
      config.decay = ops::DecayKind::row;
      config.decay_speed = retention::DecaySpeed::fast;
      config.position = retention::Position::axial;
    }
    Classifier file;
    file.description.config = config;
    file.model = make_model(config);
    const std::vector<double> weights = testing::PassBench::random_weights(file.model->parameters());
    file.values.assign(weights.begin(), weights.end());
    const std::vector<double> small = logits(*file.model, file.values, mosaic(32));
    const auto distance = [&](std::array<std::int64_t, 2> base_grid) {
      ModelConfig large = config;
      large.image_size = {64, 64};
      large.base_grid = base_grid;
      const std::vector<double> found = logits(*make_model(large), file.values, mosaic(64));
      double sum = 0;
      for (std::size_t i = 0; i < found.size(); ++i) sum += std::pow(found[i] - small[i], 2);
      return std::sqrt(sum);
    };
    EXPECT_LT(distance({8, 8}), 0.5 * distance({16, 16})) << (raster ? "raster" : "row");
  }
}

TEST(AtImageSize, KeepsWhatTheFileHolds) {
  Classifier file = small_classifier(false);
  file.description.temperature = 1.5;
  file.description.class_names = {"a", "b", "c", "d", "e"};
  file.quantized[layers::ParameterId{0}].input_scale = 2;
  const Classifier larger = at_image_size(std::move(file), small_vit(false, 48));
  EXPECT_EQ(larger.description.temperature, 1.5);
  EXPECT_EQ(larger.description.class_names.size(), 5u);
  EXPECT_EQ(larger.description.preprocessing.height, 48);
  EXPECT_EQ(larger.quantized.size(), 1u);
  EXPECT_EQ(larger.values.size(), static_cast<std::size_t>(larger.model->parameters().elements()));
}

// torch.nn.functional.interpolate(mode="bicubic", antialias=True) of 2 × 3 → 3 × 2, as timm calls it.
TEST(ResamplePositions, EqualsTorch) {
  const std::vector<float> positions{9, 1, 2, 4, 8, 16, 32};
  const std::vector<float> expected{9, 0.684951f, 1.802002f, 5.713482f, 15.0313f, 10.74201f, 28.2606f};
  const std::vector<float> found = resample_positions(positions, 1, {2, 3}, {3, 2});
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-5) << i;
  EXPECT_EQ(resample_positions(positions, 1, {2, 3}, {2, 3}), positions);
}

}  // namespace
}  // namespace vretnet::vision
