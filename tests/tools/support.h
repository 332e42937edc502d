// What the tests of the program share: a folder with small photos, a small recipe, a model file made without
// training.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "core/model/weights.h"
#include "tests/support/program.h"
#include "vision/image/encode_png.h"
#include "vision/model_file.h"
#include "vision/registry.h"

namespace vretnet::tools {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using vretnet::testing::ProgramOptions;
using vretnet::testing::ProgramResult;
using vretnet::testing::text_of_file;
using Arguments = std::vector<std::string>;
namespace fs = std::filesystem;

inline Arguments operator+(Arguments left, const Arguments& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

inline void write_file(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

// Noise, a little brighter in the channel of its class: learnable, and not at once.
inline void write_photo(const fs::path& path, int label, std::uint64_t seed, int width, int height) {
  vision::Image image = vision::make_image(width, height, 3);
  Random random(seed, {std::uint64_t(label)});
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = std::uint8_t(random.below(220) + (int(i % 3) == label % 3 ? 35 : 0));
  }
  const auto bytes = vision::encode_png(image);
  write_file(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

class ToolTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "vretnet-tools-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  // photos/{ant,bee,cat}/NN.png, `images` of each class, of odd sizes from 8 to 16 pixels.
  void write_photos(int images = 16, const std::string& root = "photos") const {
    const char* names[] = {"ant", "bee", "cat"};
    for (int label = 0; label < 3; ++label) {
      for (int i = 0; i < images; ++i) {
        write_photo(
            folder_ / root / names[label] / (std::string(i < 10 ? "0" : "") + std::to_string(i) + ".png"),
            label, std::uint64_t(i), 8 + i % 9, 8 + i * 5 % 9);
      }
    }
  }

  // A run of about a second: 43 images, batches of 8, 3 epochs.
  static Arguments small_model() {
    return {"-m",         "vretnet_pico_patch4_28",
            "--img-size", "16",
            "--in-chans", "3",
            "--width",    "32",
            "--depth",    "2",
            "--heads",    "2"};
  }
  static Arguments small_recipe(const std::string& epochs = "3") {
    return Arguments{"train",           "-d",  "photos",   "-t",  "1", "-b", "8",
                     "--warmup-epochs", "0.5", "--epochs", epochs} +
           small_model();
  }

  // A model file with first weights, for photos of 16 pixels.
  fs::path write_model(const std::string& name = "model.safetensors", const std::string& scan = "",
                       int image_size = 16) const {
    vision::Description description;
    description.config = vision::find_model_config("vretnet_pico_patch4_28");
    const std::map<std::string, std::string> changes = {{"image_size", std::to_string(image_size)},
                                                        {"in_chans", "3"},
                                                        {"width", "32"},
                                                        {"depth", "2"},
                                                        {"heads", "2"}};
    for (const auto& [key, value] : changes) vision::set_config_value(description.config, key, value, key);
    if (!scan.empty()) vision::set_config_value(description.config, "scan", scan, "scan");
    description.config.classes = 3;
    description.class_names = {"ant", "bee", "cat"};
    description.preprocessing = vision::default_preprocessing(description.config);
    const auto model = vision::make_model(description.config);
    const std::vector<double> values = model::initial_values(model->parameters(), 7);
    vision::save_classifier(folder_ / name, description, model->parameters(),
                            std::vector<float>(values.begin(), values.end()));
    return folder_ / name;
  }

  ProgramResult vretnet(const Arguments& arguments, ProgramOptions options = {}) const {
    if (options.folder.empty()) options.folder = folder_;
    return vretnet::testing::run_program(VRETNET_PROGRAM, arguments, options);
  }

  // The program ends with `code`, says one line "error: …" with each of `words`, and no result.
  void expect_error(const Arguments& arguments, int code, const std::vector<std::string>& words,
                    const ProgramOptions& options = {}) const {
    const ProgramResult result = vretnet(arguments, options);
    SCOPED_TRACE(::testing::PrintToString(arguments));
    EXPECT_EQ(result.exit_code, code) << result.err;
    EXPECT_EQ(result.out, "");
    std::vector<std::string> errors;
    for (const std::string& line : lines_of(result.err)) {
      if (line.starts_with("error: ")) errors.push_back(line);
    }
    ASSERT_EQ(errors.size(), 1u) << result.err;
    EXPECT_TRUE(result.err.ends_with(errors[0] + "\n")) << "more than a line: " << result.err;
    for (const std::string& word : words) EXPECT_THAT(errors[0], HasSubstr(word));
  }

  fs::path folder_;
};

}  // namespace vretnet::tools
