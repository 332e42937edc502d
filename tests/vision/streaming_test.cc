// A causal model that reads an image in pieces gives, after every piece, what the whole image up to there
// gives.
#include <gtest/gtest.h>

#include "core/base/error.h"
#include "tests/support/model_bench.h"
#include "tests/vision/vision_cases.h"
#include "vision/registry.h"

namespace vretnet::vision {
namespace {

using layers::FormChoice;
using testing::worst_relative_error;

constexpr double kTolerance = 1e-10;
constexpr std::int64_t kStreams = 2;

// Whether the pieces of a stream may be single tokens: nothing in the model looks at neighbours.
bool streams_by_token(const ModelConfig& config) {
  return config.decay == ops::DecayKind::raster && config.stem == Stem::patch && !config.cpe && !config.lepe;
}

// Models that stream by row, or those among them that stream by token.
std::vector<ModelConfig> causal_models(bool by_token) {
  std::vector<ModelConfig> causal;
  for (const ModelConfig& config : cases::all()) {
    const VisionModel model(config);
    if (model.why_not_streamable().empty() && (!by_token || streams_by_token(config)))
      causal.push_back(config);
  }
  return causal;
}

// Feeds images [batch, height, width, channels] piece by piece.
class Feeder {
 public:
  Feeder(const VisionModel& model, FormChoice form)
      : model_(model), bench_(model.parameters(), {.dtype = DType::f64, .form = form}) {
    Random random(5);
    images_ = bench_.upload(testing::random_values(random, model.input_shape(kStreams)),
                            model.input_shape(kStreams));
  }

  // Logits after the next `rows` patch rows.
  std::vector<double> push_rows(std::int64_t rows) {
    const std::int64_t patch = model_.patch_size(), columns = model_.config().columns();
    return push(images_.view().slice(1, seen_ / columns * patch, rows * patch), rows * columns);
  }
  // Logits after the next token.
  std::vector<double> push_token() {
    const std::int64_t patch = model_.patch_size(), columns = model_.config().columns();
    return push(
        images_.view().slice(1, seen_ / columns * patch, patch).slice(2, seen_ % columns * patch, patch), 1);
  }
  std::int64_t seen() const { return seen_; }  // tokens

  // Logits of the image cut off below the first `rows` patch rows, seen at once.
  std::vector<double> whole(std::int64_t rows) {
    ModelConfig config = model_.config();
    config.image_size[0] = rows * config.patch_size;
    if (config.base_grid[0] > 0) {  // on a grid of the same scale
      config.base_grid[0] = config.base_grid[0] * rows / model_.config().rows();
      EXPECT_EQ(config.grid_scale(), model_.config().grid_scale());
    }
    const auto shorter = make_model(config);
    testing::PassBench bench(shorter->parameters(), {.dtype = DType::f64});
    const Allocation images(bench.backend(), DType::f64, shorter->input_shape(kStreams));
    bench.backend().run(
        ops::Convert{.x = images_.view().slice(1, 0, config.image_size[0]), .y = images.view()});
    std::vector<double> logits;
    bench.walk(
        [&](layers::Pass& pass) { logits = bench.download(pass, shorter->forward(pass, images.view())); });
    return logits;
  }

 private:
  std::vector<double> push(const View& pixels, std::int64_t tokens) {
    const std::int64_t columns = model_.config().columns();
    const layers::Place place{(tokens + columns - 1) / columns, columns, seen_, /*streaming=*/true};
    std::vector<double> logits;
    // Pixels in one piece, as a stream's caller has them.
    const Allocation piece(bench_.backend(), DType::f64, pixels.shape());
    bench_.backend().run(ops::Convert{.x = pixels, .y = piece.view()});
    bench_.walk(
        [&](layers::Pass& pass) { logits = bench_.download(pass, model_.forward(pass, piece.view())); },
        place, &state_);
    seen_ += tokens;
    return logits;
  }

  const VisionModel& model_;
  testing::PassBench bench_;
  layers::StreamState state_;
  Allocation images_;
  std::int64_t seen_ = 0;
};

class Streaming : public ::testing::TestWithParam<ModelConfig> {};
class StreamingTokens : public ::testing::TestWithParam<ModelConfig> {};

TEST_P(Streaming, RowByRow) {
  const auto model = make_model(GetParam());
  for (const FormChoice form : {FormChoice::automatic, FormChoice::chunkwise, FormChoice::recurrent}) {
    Feeder feeder(*model, form);
    for (std::int64_t rows = 1; rows <= model->config().rows(); ++rows) {
      EXPECT_LE(worst_relative_error(feeder.push_rows(1), feeder.whole(rows)), kTolerance) << rows;
    }
  }
}

TEST_P(Streaming, BandsOfUnequalHeight) {
  const auto model = make_model(GetParam());
  Feeder feeder(*model, FormChoice::automatic);
  const std::int64_t first = model->config().rows() / 2;
  EXPECT_LE(worst_relative_error(feeder.push_rows(first), feeder.whole(first)), kTolerance);
  EXPECT_LE(worst_relative_error(feeder.push_rows(model->config().rows() - first),
                                 feeder.whole(model->config().rows())),
            kTolerance);
}

TEST_P(StreamingTokens, RowsThenTokens) {
  const auto model = make_model(GetParam());
  Feeder feeder(*model, FormChoice::automatic);
  const std::int64_t rows = model->config().rows(), columns = model->config().columns();
  feeder.push_rows(1);
  feeder.push_rows(1);
  while (feeder.seen() < rows * columns) {
    const std::vector<double> logits = feeder.push_token();
    if (feeder.seen() % columns != 0) continue;
    EXPECT_LE(worst_relative_error(logits, feeder.whole(feeder.seen() / columns)), kTolerance)
        << feeder.seen();
  }
}

INSTANTIATE_TEST_SUITE_P(Vision, Streaming, ::testing::ValuesIn(causal_models(false)),
                         [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(Vision, StreamingTokens, ::testing::ValuesIn(causal_models(true)),
                         [](const auto& test) { return test.param.name; });

TEST(WhyNotStreamable, SaysWhyAndNamesAModelThatCan) {
  const auto reason = [](const char* name) {
    return make_model(find_model_config(name))->why_not_streamable();
  };
  EXPECT_EQ(reason("vretnet_pico_patch4_28"), "");
  EXPECT_EQ(reason("vretnet_pico_patch4_28_local"),
            "vretnet_pico_patch4_28_local cannot read an image row by row: scan = bidirectional also sees "
            "what is below. "
            "It can when it is trained with scan = causal, such as vretnet_pico_patch4_28");
  EXPECT_EQ(reason("vit_nano_patch4_32"),
            "vit_nano_patch4_32 cannot read an image row by row: softmax attention sees the whole image. A "
            "causal model can, such as vretnet_nano_patch4_32");
  ModelConfig config = cases::classic("");
  config.learned_position = true;
  EXPECT_EQ(make_model(config)->why_not_streamable(),
            "this model cannot read an image row by row: its learned positions belong to one image size. It "
            "can when it is trained with learned_position = false");
}

TEST(WhyNotStreamable, ARowDecayStreams) {
  ModelConfig row = cases::classic("row");
  row.decay = ops::DecayKind::row;
  EXPECT_TRUE(make_model(row)->why_not_streamable().empty());
}

}  // namespace
}  // namespace vretnet::vision
