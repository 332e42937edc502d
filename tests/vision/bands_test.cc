// A session that lets images pass in bands, or a batch in pieces, gives what it gives when it sees them whole,
// in memory that does not depend on their height.
#include <gtest/gtest.h>

#include <numeric>

#include "core/model/session.h"
#include "tests/support/model_bench.h"
#include "tests/vision/vision_cases.h"
#include "vision/vision_model.h"

namespace vretnet::vision {
namespace {

using testing::worst_relative_error;

constexpr std::int64_t kBatch = 3;

struct Result {
  std::vector<double> logits;
  std::size_t arena_bytes;
};

class Images {
 public:
  explicit Images(const VisionModel& model) : model_(model), pixels_(model.input_shape(kBatch).elements()) {
    Random random(5);
    for (float& value : pixels_) value = static_cast<float>(random.uniform(-1, 1));
  }

  // In double, so that only the order of sums differs; `asked` sees which rows are asked for.
  Result run(std::int64_t band_tokens, bool from_rows,
             std::vector<std::pair<std::int64_t, std::int64_t>>* asked = nullptr,
             std::int64_t piece_bytes = 0) const {
    const auto backend = make_backend("reference", 1);
    const Allocation weights(*backend, DType::f64, {model_.parameters().elements()});
    model::upload_values(*backend, weights.view(), testing::PassBench::random_weights(model_.parameters()));
    model::Session session(model_, *backend, weights.view(), View(),
                           {.dtype = DType::f64, .band_tokens = band_tokens, .piece_bytes = piece_bytes});
    const Shape shape = model_.input_shape(1);
    const std::int64_t row = shape[2] * shape[3];
    const model::PixelRows rows = [&](std::int64_t image, std::int64_t first, std::int64_t count,
                                      float* out) {
      if (asked) asked->emplace_back(first, count);
      std::copy_n(pixels_.data() + (image * shape[1] + first) * row, count * row, out);
    };
    Result result;
    for (const std::int64_t batch : {kBatch, std::int64_t{1}, kBatch}) {  // what is kept must not matter
      const View logits = from_rows ? session.forward(rows, batch) : session.forward(pixels_.data(), batch);
      result.logits = model::download_values<double>(*backend, logits);
    }
    result.arena_bytes = session.arena_bytes();
    return result;
  }

 private:
  const VisionModel& model_;
  std::vector<float> pixels_;
};

class Bands : public ::testing::TestWithParam<ModelConfig> {};

TEST_P(Bands, ChangeNothing) {
  const auto model = make_model(GetParam());
  const std::int64_t columns = model->config().columns();
  const Images images(*model);
  const Result whole = images.run(0, false);
  ASSERT_EQ(whole.logits.size(), std::size_t(kBatch * model->classes()));
  for (const std::int64_t tokens : {std::int64_t{1}, columns, 2 * columns, 3 * columns - 1}) {
    for (const bool from_rows : {false, true}) {
      EXPECT_LE(worst_relative_error(images.run(tokens, from_rows).logits, whole.logits), 1e-10) << tokens;
    }
  }
}

TEST_P(Bands, PiecesOfABatchChangeNothing) {
  const auto model = make_model(GetParam());
  const Images images(*model);
  const Result whole = images.run(0, false);
  const auto all_bytes = static_cast<std::int64_t>(whole.arena_bytes);
  for (const std::int64_t images_of_a_piece : {1, 2}) {  // of three: 1 + 1 + 1 or 1 + 2
    const Result pieces = images.run(0, false, nullptr, all_bytes * images_of_a_piece / kBatch + 1024);
    EXPECT_EQ(pieces.logits, whole.logits);
    EXPECT_LT(pieces.arena_bytes, whole.arena_bytes);
  }
}

std::vector<ModelConfig> tall_models() {
  std::vector<ModelConfig> tall;
  for (ModelConfig config : cases::all()) {
    config.image_size[0] *= 2;  // 10 rows of patches; 4 of the wide ones
    tall.push_back(config);
  }
  return tall;
}

INSTANTIATE_TEST_SUITE_P(Vision, Bands, ::testing::ValuesIn(tall_models()),
                         [](const auto& test) { return test.param.name; });

TEST(Bands, AreOfNearlyEqualHeightAndCoverEachImageOnce) {
  ModelConfig config = cases::classic("causal");  // 10 × 3 patches of 4 pixels
  config.image_size[0] = 40;
  const auto model = make_model(config);
  std::vector<std::pair<std::int64_t, std::int64_t>> asked;
  Images(*model).run(4 * 3, true, &asked);
  asked.resize(3);
  EXPECT_EQ(asked, (std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 12}, {12, 12}, {24, 16}}));
  asked.clear();
  Images(*model).run(15, true, &asked);
  EXPECT_EQ(asked[0].second, 40) << "30 tokens are not more than twice 15";
}

TEST(Bands, MemoryDoesNotGrowWithTheHeight) {
  const auto bytes = [](std::int64_t rows, std::int64_t band_tokens) {
    ModelConfig config = cases::classic("causal");
    config.image_size[0] = rows * config.patch_size;
    const auto model = make_model(config);
    return Images(*model).run(band_tokens, false).arena_bytes;
  };
  EXPECT_EQ(bytes(16, 6), bytes(160, 6));
  EXPECT_LT(bytes(160, 6), bytes(160, 0) / 20);
}

TEST(Bands, AModelThatLooksDownSeesTheWholeImage) {
  ModelConfig config = cases::classic("bidirectional");
  config.scan = Scan::bidirectional;
  config.image_size[0] = 40;
  const auto model = make_model(config);
  std::vector<std::pair<std::int64_t, std::int64_t>> asked;
  Images(*model).run(3, true, &asked);
  EXPECT_EQ(asked[0].second, 40);
}

}  // namespace
}  // namespace vretnet::vision
