// Tall pictures made on the fly and read row by row: the answer of the whole picture, in the memory of a
// small one; and what classifying a large picture takes beside its weights and its pixels.
#include <cmath>

#include "core/backends/available.h"
#include "core/model/session.h"
#include "core/training/metrics.h"
#include "tests/support/tall_pictures.h"
#include "tests/tools/support.h"
#include "vision/image/decode.h"
#include "vision/image/transforms.h"

namespace vretnet::tools {
namespace {

constexpr int kWidth = 2048;

// Waves that differ from top to bottom, so that a lost or repeated row changes the answer.
std::vector<std::uint8_t> made_row(int y) {
  std::vector<std::uint8_t> row(kWidth);
  for (int x = 0; x < kWidth; ++x) {
    row[std::size_t(x)] = std::uint8_t((x * (1 + y / 4096) / 8 + y / 3 + ((x / 64 + y / 64) % 2) * 60) & 255);
  }
  return row;
}

void write_jpeg(const fs::path& path, int height) {
  vretnet::testing::write_jpeg(path, {.width = kWidth, .height = height, .row = made_row});
}
void write_png(const fs::path& path, int height) {
  vretnet::testing::write_png(path, {.width = kWidth, .height = height, .row = made_row});
}

class HugeImages : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    vision::Description description;
    description.config = vision::find_model_config("vretnet_pico_patch4_28");
    const std::map<std::string, std::string> changes = {
        {"image_size", "32"}, {"patch_size", "16"}, {"in_chans", "1"}, {"width", "32"},
        {"depth", "2"},       {"heads", "2"},       {"scan", "causal"}};
    for (const auto& [key, value] : changes) vision::set_config_value(description.config, key, value, key);
    description.config.classes = 3;
    description.class_names = {"ant", "bee", "cat"};
    description.preprocessing = vision::default_preprocessing(description.config);
    const auto model = vision::make_model(description.config);
    const std::vector<double> values = model::initial_values(model->parameters(), 7);
    model_ = folder_ / "causal.safetensors";
    vision::save_classifier(model_, description, model->parameters(),
                            std::vector<float>(values.begin(), values.end()));
  }

  ProgramResult stream(const std::string& image) const {
    ProgramResult result = vretnet(
        {"predict", "-m", model_.string(), "--stream", "-k", "3", "--format", "jsonl", "-t", "2", image});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result;
  }

  // The picture decoded whole and seen at once.
  std::vector<double> whole(const std::string& image) const {
    const vision::Classifier classifier = vision::load_classifier(model_);
    const vision::Preprocessing& preprocessing = classifier.description.preprocessing;
    const vision::Image pixels = vision::read_image(folder_ / image, {}, 1);
    vision::ModelConfig config = classifier.description.config;
    config.image_size = {pixels.height, pixels.width};
    const auto model = vision::make_model(config);
    const auto backend = make_backend("onednn", 2);
    const Allocation weights(*backend, DType::f32, {model->parameters().elements()});
    model::upload_values(*backend, weights.view(), classifier.values);
    model::Session session(*model, *backend, weights.view(), View(), {.band_tokens = 0});
    std::vector<float> input(pixels.pixels.size());
    vision::normalize(pixels, preprocessing.mean, preprocessing.deviation, input.data());
    std::vector<float> logits(3);
    backend->download(session.forward(input.data(), 1), logits.data());
    return training::softmax(logits);
  }

  void expect_equal_and_flat(const std::string& tall, const std::string& square) const {
    const ProgramResult small = stream(square), large = stream(tall);
    EXPECT_LE(double(large.peak_kib), 1.05 * double(small.peak_kib)) << "KiB";
    const std::vector<double> expected = whole(tall);
    const json line = json::parse(large.out);
    const std::vector<std::string> names = {"ant", "bee", "cat"};
    for (const json& each : line.at("top")) {
      const auto place = std::find(names.begin(), names.end(), each.at("label").get<std::string>());
      // What is printed is rounded to 1e-4.
      EXPECT_NEAR(each.at("probability").get<double>(), expected[std::size_t(place - names.begin())], 1.5e-4);
    }
  }

  fs::path model_;
};

TEST_F(HugeImages, TallStreams) {
  write_jpeg(folder_ / "tall.jpg", 8192);
  write_jpeg(folder_ / "square.jpg", kWidth);
  expect_equal_and_flat("tall.jpg", "square.jpg");
  write_png(folder_ / "tall.png", 8192);
  write_png(folder_ / "square.png", kWidth);
  expect_equal_and_flat("tall.png", "square.png");
}

// More than 130 million pixels; the whole picture's answer alone takes 1.5 GB.
TEST_F(HugeImages, SlowTallestJpeg) {
  write_jpeg(folder_ / "tall.jpg", 64000);
  write_jpeg(folder_ / "square.jpg", kWidth);
  expect_equal_and_flat("tall.jpg", "square.jpg");
}

TEST_F(HugeImages, SlowTallestPng) {
  write_png(folder_ / "tall.png", 65536);
  write_png(folder_ / "square.png", kWidth);
  expect_equal_and_flat("tall.png", "square.png");
}

// A causal model of the usual size at 2048 × 2048: 64 MB above the weights and the decoded picture.
TEST_F(HugeImages, ALargePictureTakesLittleMemory) {
  vision::Description description;
  description.config = vision::find_model_config("vretnet_tiny_patch16_224");
  vision::set_config_value(description.config, "scan", "causal", "scan");
  vision::set_config_value(description.config, "learned_position", "false", "learned_position");
  description.config.classes = 3;
  description.class_names = {"ant", "bee", "cat"};
  description.preprocessing = vision::default_preprocessing(description.config);
  const auto model = vision::make_model(description.config);
  const std::vector<double> values = model::initial_values(model->parameters(), 7);
  const fs::path file = folder_ / "tiny.safetensors";
  vision::save_classifier(file, description, model->parameters(),
                          std::vector<float>(values.begin(), values.end()));
  write_jpeg(folder_ / "square.jpg", kWidth);
  const ProgramResult result = vretnet(
      {"predict", "-m", file.string(), "--img-size", std::to_string(kWidth), "-t", "2", "square.jpg"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const double decoded = 3.0 * kWidth * kWidth, weights = double(fs::file_size(file));
  const double above = 1024.0 * double(result.peak_kib) - weights - decoded;
  RecordProperty("bytes_above_weights_and_pixels", std::to_string(above));
  EXPECT_LE(above, 64e6);
}

}  // namespace
}  // namespace vretnet::tools
