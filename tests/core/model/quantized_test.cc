// Quantized weights: the integers, the steps, and their place in files.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "core/backends/available.h"
#include "core/base/error.h"
#include "core/base/random.h"
#include "core/model/calibration.h"
#include "core/model/checkpoint.h"

namespace vretnet::model {
namespace {

namespace fs = std::filesystem;

TEST(Quantize, NoWeightIsOffByMoreThanHalfItsScale) {
  Random random(1);
  std::vector<float> values;
  for (int i = 0; i < 5 * 70; ++i)
    values.push_back(static_cast<float>(random.normal() * std::pow(10, i / 70 - 2)));
  const QuantizedParameter parameter = quantize(values, 5, 0.5f);
  EXPECT_EQ(parameter.input_scale, 0.5f);
  for (std::size_t row = 0; row < 5; ++row) {
    const float scale = parameter.weight_scale[row];
    int largest = 0;
    for (std::size_t i = row * 70; i < row * 70 + 70; ++i) {
      EXPECT_LE(std::abs(scale * static_cast<float>(parameter.weight[i]) - values[i]), 0.5001f * scale);
      largest = std::max(largest, std::abs(int{parameter.weight[i]}));
    }
    EXPECT_EQ(largest, 127) << "the range is used";
  }
}

TEST(Quantize, ARowOfZerosHasAScaleAllTheSame) {
  const std::vector<float> values{0, 0, 0, 1, 2, -4};
  const QuantizedParameter parameter = quantize(values, 2, 1);
  EXPECT_EQ(parameter.weight_scale[0], 1);
  EXPECT_EQ(parameter.weight_scale[1], 4.0f / 127);
  EXPECT_EQ(parameter.weight, (std::vector<std::int8_t>{0, 0, 0, 32, 64, -127}));
}

double rounding_error(const std::vector<float>& values, double step) {
  double sum = 0;
  for (const float value : values) {
    const double rounded = step * std::clamp(std::nearbyint(value / step), -127.0, 127.0);
    sum += (value - rounded) * (value - rounded);
  }
  return sum;
}

TEST(MagnitudeHistogram, FindsTheStepOfLeastError) {
  Random random(2);
  for (const double tail : {0.0, 20.0, 300.0}) {
    std::vector<float> values;
    for (int i = 0; i < 20000; ++i) values.push_back(static_cast<float>(random.normal()));
    if (tail > 0) values[777] = static_cast<float>(tail);
    MagnitudeHistogram histogram;
    for (std::size_t i = 0; i < values.size(); i += 1000) {
      histogram.add(std::span(values).subspan(i, 1000));  // the range grows on the way
    }
    double best = std::numeric_limits<double>::infinity();
    for (double step = 0.001; step < 3; step *= 1.02) best = std::min(best, rounding_error(values, step));
    EXPECT_LE(rounding_error(values, static_cast<double>(histogram.best_step())), 1.1 * best) << tail;
  }
}

TEST(MagnitudeHistogram, NothingButZerosHasAStepAllTheSame) {
  MagnitudeHistogram histogram;
  EXPECT_EQ(histogram.best_step(), 1);
  histogram.add(std::vector<float>(10, 0.0f));
  EXPECT_EQ(histogram.best_step(), 1);
}

class QuantizedFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              (std::string("quantized_") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
    qk_ = table_.add_stacked({{"q.weight", {2, 3}, {}}, {"k.weight", {3, 3}, {}}});
    norm_ = table_.add({"norm.weight", {3}, {}, false});
    table_.lay_out();
    values_.assign(static_cast<std::size_t>(table_.elements()), 0.0f);
    for (std::size_t i = 0; i < values_.size(); ++i) values_[i] = static_cast<float>(i) / 8 - 1;
    const std::span<const float> part(values_.data() + table_.parts(qk_).front().offset, 15);
    quantized_.emplace(qk_, quantize(part, 5, 0.125f));
  }
  void TearDown() override { fs::remove_all(folder_); }

  // The tensors of a good file, to be changed.
  std::vector<TensorToWrite> good_tensors() {
    std::vector<TensorToWrite> tensors;
    append_quantized_for_test(tensors);
    tensors.push_back({"norm.weight", StoredType::F32, {3}, std::as_bytes(std::span(three_))});
    return tensors;
  }
  void append_quantized_for_test(std::vector<TensorToWrite>& tensors) {
    const QuantizedParameter& parameter = quantized_.at(qk_);
    const auto integers = std::as_bytes(std::span(parameter.weight));
    const auto scales = std::as_bytes(std::span(parameter.weight_scale));
    const auto step = std::as_bytes(std::span(&parameter.input_scale, 1));
    tensors.push_back({"q.weight", StoredType::I8, {2, 3}, integers.first(6)});
    tensors.push_back({"q.weight_scale", StoredType::F32, {2}, scales.first(8)});
    tensors.push_back({"q.input_scale", StoredType::F32, {1}, step});
    tensors.push_back({"k.weight", StoredType::I8, {3, 3}, integers.subspan(6)});
    tensors.push_back({"k.weight_scale", StoredType::F32, {3}, scales.subspan(8)});
    tensors.push_back({"k.input_scale", StoredType::F32, {1}, step});
  }
  ModelValues read(const std::vector<TensorToWrite>& tensors) {
    const fs::path path = folder_ / "model.safetensors";
    write_safetensors(path, {}, tensors);
    return read_model_values(SafetensorsFile(path), table_);
  }
  void expect_refused(const std::vector<TensorToWrite>& tensors, const std::vector<std::string>& words) {
    try {
      read(tensors);
      ADD_FAILURE() << "accepted, expected " << words.front();
    } catch (const UsageError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("model.safetensors"), std::string::npos) << message;
      for (const std::string& word : words) EXPECT_NE(message.find(word), std::string::npos) << message;
    }
  }
  // With other numbers in one of the F32 tensors.
  void expect_numbers_refused(std::size_t tensor, const std::vector<float>& numbers,
                              const std::vector<std::string>& words) {
    auto tensors = good_tensors();
    tensors[tensor].shape = {static_cast<std::int64_t>(numbers.size())};
    tensors[tensor].bytes = std::as_bytes(std::span(numbers));
    expect_refused(tensors, words);
  }

  fs::path folder_;
  layers::ParameterTable table_;
  layers::ParameterId qk_ = 0, norm_ = 0;
  std::vector<float> values_, three_{1, 2, 3};
  QuantizedParameters quantized_;
};

TEST_F(QuantizedFileTest, ComesBackAsItWasWritten) {
  const fs::path path = folder_ / "model.safetensors";
  save_model_file(path, {}, table_, values_, quantized_);
  const SafetensorsFile file(path);
  EXPECT_EQ(file.at("k.weight").type, StoredType::I8);
  EXPECT_EQ(file.at("k.weight_scale").shape, std::vector<std::int64_t>{3});
  EXPECT_EQ(file.at("k.input_scale").shape, std::vector<std::int64_t>{1});
  const ModelValues back = read_model_values(file, table_);
  ASSERT_EQ(back.quantized.size(), 1u);
  const QuantizedParameter &before = quantized_.at(qk_), &after = back.quantized.at(qk_);
  EXPECT_EQ(after.weight, before.weight);
  EXPECT_EQ(after.weight_scale, before.weight_scale);
  EXPECT_EQ(after.input_scale, before.input_scale);
  const auto begin = static_cast<std::size_t>(table_.parts(qk_).front().offset);
  for (std::size_t i = 0; i < 15; ++i) {
    EXPECT_EQ(back.values[begin + i], before.weight_scale[i / 3] * static_cast<float>(before.weight[i]));
  }
}

TEST_F(QuantizedFileTest, TheGoodTensorsAreAccepted) {
  EXPECT_EQ(read(good_tensors()).quantized.at(qk_).weight, quantized_.at(qk_).weight);
}

TEST_F(QuantizedFileTest, MissingTensorsAreNamed) {
  for (const auto& [tensor, name] : {std::pair{1, "q.weight_scale"}, std::pair{2, "q.input_scale"},
                                     std::pair{3, "k.weight"}, std::pair{4, "k.weight_scale"}}) {
    auto tensors = good_tensors();
    tensors.erase(tensors.begin() + tensor);
    expect_refused(tensors, {name});
  }
}

TEST_F(QuantizedFileTest, ScalesAreFiniteAndAboveZero) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                  kInfinity = std::numeric_limits<float>::infinity();
  for (const float bad : {kNan, kInfinity, 0.0f, -1.0f, 1e-42f}) {
    expect_numbers_refused(1, {1, bad}, {"q.weight_scale", "element 1", "above 0"});
    expect_numbers_refused(2, {bad}, {"q.input_scale", "above 0"});
  }
  expect_numbers_refused(1, {1, 3e38f}, {"q.weight_scale", "f32 does not hold"});
}

TEST_F(QuantizedFileTest, ShapesTypesAndNeighboursFit) {
  expect_numbers_refused(1, {1, 1, 1}, {"q.weight_scale", "[3]", "[2]"});
  expect_numbers_refused(2, {1, 1}, {"q.input_scale", "[2]", "[1]"});
  expect_numbers_refused(5, {0.25f}, {"k.input_scale", "0.25", "q.input_scale"});

  auto tensors = good_tensors();
  tensors[0].type = StoredType::U8;
  expect_refused(tensors, {"q.weight", "U8", "I8"});
  tensors = good_tensors();
  tensors[0].shape = {3, 2};
  expect_refused(tensors, {"q.weight", "[3, 2]", "[2, 3]"});
  const std::vector<double> wide{1, 1};
  tensors = good_tensors();
  tensors[1].type = StoredType::F64;
  tensors[1].bytes = std::as_bytes(std::span(wide));
  expect_refused(tensors, {"q.weight_scale", "F64", "F32"});

  const std::vector<float> floats(9, 0.5f);
  tensors = good_tensors();
  tensors[3] = {"k.weight", StoredType::F32, {3, 3}, std::as_bytes(std::span(floats))};
  expect_refused(tensors, {"k.weight", "F32", "I8"});

  const std::vector<std::int8_t> integers(3, 1);
  tensors = good_tensors();
  tensors.back() = {"norm.weight", StoredType::I8, {3}, std::as_bytes(std::span(integers))};
  expect_refused(tensors, {"norm.weight", "I8", "floating-point"});
}

TEST_F(QuantizedFileTest, ScalesAskForIntegers) {
  const std::vector<float> floats(15, 0.5f);
  const auto bytes = std::as_bytes(std::span(floats));
  expect_refused({{"q.weight", StoredType::F32, {2, 3}, bytes.first(24)},
                  {"q.weight_scale", StoredType::F32, {2}, bytes.first(8)},
                  {"k.weight", StoredType::F32, {3, 3}, bytes.first(36)},
                  {"norm.weight", StoredType::F32, {3}, bytes.first(12)}},
                 {"q.weight", "F32", "I8"});
}

}  // namespace
}  // namespace vretnet::model
