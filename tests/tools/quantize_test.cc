// vretnet quantize, and what the other commands do with its files.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/backends/available.h"
#include "core/model/safetensors.h"
#include "tests/tools/support.h"

namespace vretnet::tools {
namespace {

class QuantizeTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    write_photos(6);
    write_model();
  }
  ProgramResult quantize(const Arguments& more = {}) const {
    return vretnet(
        Arguments{"quantize", "-m", "model.safetensors", "-d", "photos", "-t", "1", "--max-drop", "1"} +
        more);
  }
  std::string dtype_of(const std::string& file, const std::string& tensor) const {
    const model::SafetensorsFile read(folder_ / file);
    return std::string(model::type_name(read.at(tensor).type));
  }
};

TEST_F(QuantizeTest, WritesAnInt8FileThatTheOtherCommandsRead) {
  const ProgramResult result = quantize();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("8 of 8 linear layers"));
  EXPECT_THAT(result.err, HasSubstr("wrote   model-int8.safetensors"));
  const std::string file = "model-int8.safetensors";
  EXPECT_EQ(dtype_of(file, "blocks.0.retention.q_proj.weight"), "I8");
  EXPECT_EQ(dtype_of(file, "blocks.0.retention.q_proj.weight_scale"), "F32");
  EXPECT_EQ(dtype_of(file, "blocks.1.mlp.fc2.input_scale"), "F32");
  EXPECT_EQ(dtype_of(file, "head.weight"), "F32");
  EXPECT_EQ(dtype_of(file, "norm.weight"), "F32");

  const ProgramResult info = vretnet({"info", file, "--format", "json", "--layers"});
  ASSERT_EQ(info.exit_code, 0) << info.err;
  const json report = json::parse(info.out);
  EXPECT_EQ(report["precision"], "int8");
  std::size_t integers = 0;
  for (const json& tensor : report["tensors"]) integers += tensor["dtype"] == "s8";
  EXPECT_EQ(integers, 2u * 7);
  EXPECT_THAT(vretnet({"info", file}).out, HasSubstr("int8: 14 weights"));
  EXPECT_EQ(json::parse(vretnet({"info", "model.safetensors", "--format", "json"}).out)["precision"], "f32");

  for (const std::string precision : {"int8", "f32"}) {
    const ProgramResult eval = vretnet({"eval", "-m", file, "-d", "photos", "--precision", precision});
    EXPECT_EQ(eval.exit_code, 0) << eval.err;
    EXPECT_THAT(eval.err, HasSubstr("  " + precision + "  "));
    EXPECT_EQ(vretnet({"predict", "-m", file, "photos/ant/00.png", "--precision", precision}).exit_code, 0);
  }
  EXPECT_EQ(vretnet({"eval", "-m", file, "-d", "photos", "--calibrate"}).exit_code, 0);
  EXPECT_EQ(json::parse(vretnet({"info", file, "--format", "json"}).out)["precision"], "int8")
      << "calibrated";
}

TEST_F(QuantizeTest, AutoTakesIntegersOnlyWhereTheyAreFaster) {
  ASSERT_EQ(quantize().exit_code, 0);
  const auto said = [&](const Arguments& more, const ProgramOptions& options = {}) {
    return vretnet(Arguments{"eval", "-m", "model-int8.safetensors", "-d", "photos"} + more, options).err;
  };
  const bool faster = make_backend("onednn", 1)->favours_integers();
  EXPECT_THAT(said({}), HasSubstr(faster ? "  int8  " : "  f32  "));
  EXPECT_THAT(said({"--backend", "reference"}), HasSubstr("  f32  "));
  ProgramOptions without_vnni;
  without_vnni.environment = {{"DNNL_MAX_CPU_ISA", "AVX512_CORE"}};
  EXPECT_THAT(said({}, without_vnni), HasSubstr("  f32  "));
  EXPECT_THAT(said({"--precision", "int8"}, without_vnni), HasSubstr("  int8  "));
}

double probability(const ProgramResult& result) {
  return json::parse(result.out).at("probability").get<double>();
}

TEST_F(QuantizeTest, AnswersAreNearThoseOfF32AndNotTheSame) {
  ASSERT_EQ(quantize({"-o", "small.safetensors"}).exit_code, 0);
  const auto answer = [&](const Arguments& more) {
    return probability(vretnet(Arguments{"predict", "photos/bee/03.png", "--format", "jsonl", "-m"} + more));
  };
  const double f32 = answer({"model.safetensors"}),
               int8 = answer({"small.safetensors", "--precision", "int8"}),
               rounded_weights = answer({"small.safetensors", "--precision", "f32"});
  EXPECT_NE(int8, f32);
  EXPECT_NE(int8, rounded_weights) << "the inputs are rounded, too";
  EXPECT_NEAR(int8, f32, 0.02);
  EXPECT_NEAR(rounded_weights, f32, 0.02);
}

TEST_F(QuantizeTest, TheSameFileComesOutTwice) {
  ASSERT_EQ(quantize({"-o", "a.safetensors"}).exit_code, 0);
  ASSERT_EQ(quantize({"-o", "b.safetensors", "-j", "3"}).exit_code, 0);
  EXPECT_EQ(text_of_file(folder_ / "a.safetensors"), text_of_file(folder_ / "b.safetensors"));
}

TEST_F(QuantizeTest, AFolderWithoutLabelsIsJudgedByTheAnswers) {
  fs::create_directories(folder_ / "loose");
  for (int i = 0; i < 5; ++i)
    write_photo(folder_ / "loose" / (std::to_string(i) + ".png"), i % 3, 50 + i, 16, 16);
  const ProgramResult result =
      vretnet({"quantize", "-m", "model.safetensors", "-d", "loose", "--max-drop", "1"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("answers on 5 images changed (no labels)"));
}

TEST_F(QuantizeTest, StreamsOnIntegers) {
  write_model("causal.safetensors", "causal");
  ASSERT_EQ(vretnet({"quantize", "-m", "causal.safetensors", "-d", "photos", "--max-drop", "1"}).exit_code,
            0);
  const ProgramResult result =
      vretnet({"predict", "--stream", "-m", "causal-int8.safetensors", "photos/ant/00.png"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST_F(QuantizeTest, WhatCannotBeIsSaid) {
  ASSERT_EQ(quantize().exit_code, 0);
  expect_error({"quantize", "-m", "model-int8.safetensors", "-d", "photos"}, 2, {"--model", "int8 already"});
  expect_error({"eval", "-m", "model.safetensors", "-d", "photos", "--precision", "int8"}, 2,
               {"--precision", "f32 weights", "vretnet quantize"});
  expect_error(Arguments{"train", "-d", "photos", "--precision", "int8"} + small_model(), 2,
               {"--precision", "inference"});
  expect_error({"eval", "-m", "model.safetensors", "-d", "photos", "--precision", "bf16"}, 2,
               {"--precision", "bf16", "--device cuda"});
  expect_error(Arguments{"train", "-d", "photos", "--precision", "bf16"} + small_model(), 2,
               {"--precision", "bf16", "--device cuda"});
  expect_error({"explain", "-m", "model.safetensors", "photos/ant/00.png", "--precision", "int8"}, 2,
               {"--precision", "explain runs in f32 only", "int8"});
  expect_error({"quantize", "-m", "model.safetensors", "-d", "nowhere"}, 2, {"--data-dir", "nowhere"});
  expect_error({"quantize", "-m", "model.safetensors", "-d", "photos", "--max-drop", "2"}, 2, {"--max-drop"});
}

// A model that has learned, with weights that no answer depends on and that leave no room for the others in 8
// bits: inputs that are always 0 get a weight of a million, so that in integers these layers give zeros.
class SpoiledModelTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    write_photos(40);
    const ProgramResult trained = vretnet(small_recipe("12") + Arguments{"-o", "run"});
    ASSERT_EQ(trained.exit_code, 0) << trained.err;
    const json report = json::parse(lines_of(trained.out).back());
    ASSERT_GT(report.at("top1").get<double>(), 0.6) << "nothing to lose";
    classifier_ = vision::load_classifier(folder_ / "run" / "best.safetensors");
  }
  float& at(const std::string& name, std::int64_t element) {
    const layers::NamedTensor* tensor = classifier_.model->parameters().find(name);
    return classifier_.values[static_cast<std::size_t>(tensor->offset + element)];
  }
  const Shape& shape_of(const std::string& name) const {
    return classifier_.model->parameters().find(name)->shape;
  }
  void save() const {
    vision::save_classifier(folder_ / "spoiled.safetensors", classifier_.description,
                            classifier_.model->parameters(), classifier_.values);
  }
  void spoil_column(const std::string& name) {
    const Shape& shape = shape_of(name);
    for (std::int64_t row = 0; row < shape[0]; ++row) at(name, row * shape[1]) = 1e6f;
  }
  // Of all blocks the projections and fc1; with fc2 more than half of the layers.
  void spoil(bool fc2_too) {
    for (int block = 0; block < 2; ++block) {
      const std::string prefix = "blocks." + std::to_string(block) + ".";
      for (const char* norm : {"norm1", "norm2"}) {
        at(prefix + norm + ".weight", 0) = 0;
        at(prefix + norm + ".bias", 0) = 0;
      }
      for (const char* name : {"q_proj", "k_proj", "v_proj", "g_proj"}) {
        spoil_column(prefix + "retention." + name + ".weight");
      }
      spoil_column(prefix + "mlp.fc1.weight");
      if (!fc2_too) continue;
      for (std::int64_t i = 0; i < shape_of(prefix + "mlp.fc1.weight")[1]; ++i) {
        at(prefix + "mlp.fc1.weight", i) = 0;
      }
      at(prefix + "mlp.fc1.bias", 0) = -1000;  // GELU makes it 0
      spoil_column(prefix + "mlp.fc2.weight");
    }
    save();
  }
  // The head reads one channel, to which the patches give nothing and the blocks all; half of the photos
  // shall be ants.
  void depend_on_blocks() {
    const std::string patches = "patch_embed.proj.weight";
    const std::int64_t inputs = shape_of(patches).elements() / shape_of(patches)[0];
    for (std::int64_t i = 0; i < inputs; ++i) at(patches, i) = 0;
    at("patch_embed.proj.bias", 0) = 0;
    const std::int64_t width = shape_of("head.weight")[1];
    for (std::int64_t i = 0; i < 3 * width; ++i) at("head.weight", i) = 0;
    at("head.weight", 0) = 3;
    at("head.weight", width) = -3;
    for (std::int64_t i = 0; i < 3; ++i) at("head.bias", i) = i == 2 ? -100.0f : 0.0f;
    save();
    const ProgramResult answers =
        vretnet({"predict", "-m", "spoiled.safetensors", "photos", "-r", "--format", "jsonl", "-k", "3"});
    std::vector<double> ratios;
    for (const std::string& line : lines_of(answers.out)) {
      const json top = json::parse(line).at("top");
      double ratio = 0;
      for (const json& entry : top) {
        const double probability = std::max(entry.at("probability").get<double>(), 1e-9);
        if (entry.at("label") == "ant") ratio += std::log(probability);
        if (entry.at("label") == "bee") ratio -= std::log(probability);
      }
      ratios.push_back(ratio);
    }
    ASSERT_EQ(ratios.size(), 120u) << answers.err;
    std::nth_element(ratios.begin(), ratios.begin() + 60, ratios.end());
    at("head.bias", 0) = static_cast<float>(-ratios[60]);
    save();
  }

  vision::Classifier classifier_;
};

TEST_F(SpoiledModelTest, TheLayersThatCostMostStayF32) {
  spoil(/*fc2_too=*/false);
  const ProgramResult result =
      vretnet({"quantize", "-m", "spoiled.safetensors", "-d", "photos", "--max-drop", "0"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const model::SafetensorsFile file(folder_ / "spoiled-int8.safetensors");
  std::size_t kept = 0;
  for (const std::string& line : lines_of(result.err)) {
    if (!line.starts_with("f32     ")) continue;
    ++kept;
    const std::string name = line.substr(8, line.find(':') - 8);
    EXPECT_TRUE(name.ends_with("q_proj.weight") || name.ends_with("fc1.weight")) << name;
    EXPECT_EQ(file.at(name).type, model::StoredType::F32) << name;
    EXPECT_EQ(file.find(name + "_scale"), nullptr);
  }
  EXPECT_GT(kept, 0u) << result.err;
  EXPECT_EQ(file.at("blocks.0.mlp.fc2.weight").type, model::StoredType::I8);
  EXPECT_THAT(result.err, HasSubstr(std::to_string(8 - kept) + " of 8 linear layers"));
}

TEST_F(SpoiledModelTest, RefusesWhatCostsTooMuchAndWritesNothing) {
  spoil(/*fc2_too=*/true);
  depend_on_blocks();
  fs::create_directories(folder_ / "loose");  // without labels, so that every changed answer counts
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "photos")) {
    if (!entry.is_regular_file()) continue;
    fs::copy(entry.path(),
             folder_ / "loose" /
                 (entry.path().parent_path().filename().string() + entry.path().filename().string()));
  }
  const ProgramResult result =
      vretnet({"quantize", "-m", "spoiled.safetensors", "-d", "loose", "--max-drop", "0"});
  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_THAT(result.err, HasSubstr("--max-drop 0"));
  EXPECT_THAT(result.err, HasSubstr("4 of 8 layers"));
  EXPECT_FALSE(fs::exists(folder_ / "spoiled-int8.safetensors"));
}

// Files that lie about their integers.
class HostileInt8Test : public QuantizeTest {
 protected:
  void SetUp() override {
    QuantizeTest::SetUp();
    ASSERT_EQ(quantize({"-o", "good.safetensors"}).exit_code, 0);
    const std::string bytes = text_of_file(folder_ / "good.safetensors");
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    header_ = json::parse(bytes.substr(8, length));
    data_ = bytes.substr(8 + length);
  }
  void expect_refused(const json& header, const std::string& data,
                      const std::vector<std::string>& words) const {
    std::string text = header.dump(), length(8, '\0');
    const std::uint64_t count = text.size();
    std::memcpy(length.data(), &count, 8);
    write_file(folder_ / "hostile.safetensors", length + text + data);
    for (const Arguments& command :
         {Arguments{"info", "hostile.safetensors"},
          Arguments{"predict", "-m", "hostile.safetensors", "photos/ant/00.png"}}) {
      std::vector<std::string> all = words;
      all.push_back("hostile.safetensors");
      expect_error(command, 2, all);
    }
  }
  // With the first number of this F32 tensor changed.
  void expect_number_refused(const std::string& tensor, float number) const {
    std::string data = data_;
    std::memcpy(data.data() + header_.at(tensor).at("data_offsets")[0].get<std::size_t>(), &number, 4);
    expect_refused(header_, data, {tensor, "above 0"});
  }

  json header_;
  std::string data_;
};

TEST_F(HostileInt8Test, Scales) {
  for (const std::string tensor : {"blocks.0.mlp.fc1.weight_scale", "blocks.1.mlp.fc2.input_scale"}) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), 0.0f, -1.0f, std::numeric_limits<float>::infinity()}) {
      expect_number_refused(tensor, bad);
    }
    json renamed = header_;
    renamed["stranger"] = renamed[tensor];
    renamed.erase(tensor);
    expect_refused(renamed, data_, {tensor, "missing"});
  }
}

TEST_F(HostileInt8Test, TypesAndShapes) {
  const std::string weight = "blocks.0.mlp.fc1.weight";
  json header = header_;
  header[weight]["dtype"] = "U8";
  expect_refused(header, data_, {weight, "U8"});
  header = header_;
  header[weight]["shape"] = {header[weight]["shape"][1], header[weight]["shape"][0]};
  expect_refused(header, data_, {weight});
  header = header_;
  header[weight + "_scale"]["dtype"] = "I32";
  expect_refused(header, data_, {weight + "_scale", "I32", "F32"});
}

}  // namespace
}  // namespace vretnet::tools
