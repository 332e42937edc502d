#include "vision/model_config.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "tests/support/usage_error.h"
#include "tests/vision/vision_cases.h"
#include "vision/registry.h"

namespace vretnet::vision {
namespace {

using vretnet::testing::message_of;

// The message for a valid config after `change`.
std::string refusal(const std::function<void(ModelConfig&)>& change,
                    ModelConfig config = cases::classic("tiny")) {
  change(config);
  return message_of([&] { validate(config, "file: model"); });
}

std::string json_refusal(const std::function<void(nlohmann::json&)>& change) {
  nlohmann::json json = nlohmann::json::parse(to_json(cases::classic("tiny")));
  change(json);
  return message_of([&] { parse_model_config(json.dump(), "file: model"); });
}

TEST(ModelConfigJson, SurvivesTheRoundTrip) {
  for (const ModelConfig& config : cases::all()) {
    EXPECT_EQ(parse_model_config(to_json(config), "test"), config) << config.name;
  }
  for (const std::string& name : model_names()) {
    const ModelConfig config = find_model_config(name);
    EXPECT_EQ(parse_model_config(to_json(config), "test"), config) << name;
  }
}

TEST(ModelConfigJson, HoldsTheKeysOfTheContract) {
  EXPECT_EQ(
      to_json(find_model_config("vretnet_pico_patch4_28_local")),
      R"({"name":"vretnet_pico_patch4_28_local","image_size":[28,28],"patch_size":4,"in_chans":1,"width":96,)"
      R"("depth":4,"heads":3,"value_factor":1.0,"ffn_factor":3.5,"stem":"conv","scan":"bidirectional",)"
      R"("decay":"row","decay_speed":"fast","position":"axial","pool":"mean","learned_position":false,)"
      R"("cpe":true,"lepe":true,"gate":true,"head_norm":"layer","head_norm_epsilon":1e-06,)"
      R"("norm_epsilon":1e-06,"classes":10})");
}

// What other readers of these files need not know stands in those alone that need it.
TEST(ModelConfigJson, ABaseGridIsWrittenWhereThereIsOne) {
  ModelConfig config = cases::classic("tiny");
  EXPECT_EQ(to_json(config).find("base_grid"), std::string::npos);
  EXPECT_EQ(config.grid_scale(), retention::GridScale{});
  config.base_grid = {4, 6};  // the image has 5 × 3 patches
  EXPECT_NE(to_json(config).find(R"("base_grid":[4,6])"), std::string::npos);
  EXPECT_EQ(parse_model_config(to_json(config), "test").grid_scale(), (retention::GridScale{1.25, 0.5}));
}

TEST(ModelConfigJson, LearnedDecaysAreWrittenWhereThereAreSome) {
  ModelConfig config = cases::classic("tiny");
  EXPECT_EQ(to_json(config).find("learned_decay"), std::string::npos);
  EXPECT_FALSE(parse_model_config(to_json(config), "test").learned_decay) << "as in files from before";
  config.learned_decay = true;
  EXPECT_NE(to_json(config).find(R"("learned_decay":true)"), std::string::npos);
  EXPECT_TRUE(parse_model_config(to_json(config), "test").learned_decay);
}

TEST(ModelConfigJson, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(json_refusal([](auto& json) { json["widht"] = 12; }),
            "file: model: unknown key 'widht'. Did you mean 'width'?");
  EXPECT_EQ(json_refusal([](auto& json) { json.erase("scan"); }), "file: model: scan is missing");
  EXPECT_EQ(json_refusal([](auto& json) { json["width"] = "12"; }),
            "file: model: width is \"12\", expected a whole number");
  EXPECT_EQ(json_refusal([](auto& json) { json["width"] = 12.0; }),
            "file: model: width is 12.0, expected a whole number");
  EXPECT_EQ(json_refusal([](auto& json) { json["width"] = 18446744073709551615ull; }),
            "file: model: width is 18446744073709551615, expected a whole number");
  EXPECT_EQ(json_refusal([](auto& json) { json["cpe"] = 1; }),
            "file: model: cpe is 1, expected true or false");
  EXPECT_EQ(json_refusal([](auto& json) { json["image_size"] = 28; }),
            "file: model: image_size is 28, expected [height, width]");
  EXPECT_EQ(
      json_refusal([](auto& json) { json["scan"] = "casual"; }),
      "file: model: scan is 'casual', expected one of causal, alternate, bidirectional, cross. Did you mean "
      "'causal'?");
  EXPECT_EQ(message_of([] { parse_model_config("[]", "file: model"); }), "file: model: not a JSON object");
  EXPECT_EQ(message_of([] { parse_model_config("{", "file: model"); }), "file: model: not a JSON object");
}

TEST(ValidateModelConfig, RefusesImpossibleModels) {
  for (const ModelConfig& config : cases::all()) EXPECT_EQ(refusal([](auto&) {}, config), "no error");
  EXPECT_EQ(refusal([](auto& c) { c.heads = 5; }), "file: model: heads is 5, expected a divisor of width 12");
  EXPECT_EQ(refusal([](auto& c) { c.heads = 4; }),
            "file: model: heads is 4, which makes keys of 3 elements; positions turn pairs: expected an even "
            "number");
  EXPECT_EQ(refusal([](auto& c) {
              c.image_size = {20, 13};
            }),
            "file: model: image_size is 20 × 13, expected multiples of patch_size 4");
  EXPECT_EQ(refusal([](auto& c) { c.ffn_factor = 2.1; }),
            "file: model: ffn_factor is 2.1, expected a whole number when multiplied by width 12");
  EXPECT_EQ(refusal([](auto& c) { c.value_factor = 1.0 / 3; }),
            "file: model: heads is 3, expected a divisor of width · value_factor, 4");
  EXPECT_EQ(refusal([](auto& c) { c.depth = 0; }), "file: model: depth is 0, expected 1 to 1000");
  EXPECT_EQ(refusal([](auto& c) { c.classes = -1; }), "file: model: classes is -1, expected 1 to 1048576");
  EXPECT_EQ(refusal([](auto& c) { c.norm_epsilon = -1; }),
            "file: model: norm_epsilon is -1, expected 0 to 1");
  EXPECT_NE(refusal([](auto& c) { c.ffn_factor = NAN; }), "no error");
  EXPECT_EQ(refusal(
                [](auto& c) {
                  c.image_size = {18, 12}, c.patch_size = 6;
                },
                cases::local("tiny")),
            "file: model: patch_size is 6, but stem = conv halves the image: expected 2, 4, 8, 16 …");
  EXPECT_EQ(refusal(
                [](auto& c) {
                  c.width = 6, c.image_size = {16, 16}, c.patch_size = 8;
                },
                cases::local("tiny")),
            "file: model: width is 6, expected a multiple of 4 for stem = conv and patch_size 8");
  EXPECT_EQ(refusal([](auto& c) { c.scan = Scan::alternate, c.pool = layers::Pool::last; }),
            "file: model: pool is last, expected mean or sequence with scan = alternate: only a causal "
            "scan's last token "
            "has seen the "
            "image");
  EXPECT_EQ(
      refusal([](auto& c) { c.scan = Scan::cross; }),
      "file: model: heads is 3, expected 4 or more with scan = cross, whose four orders share them out");
  EXPECT_EQ(refusal([](auto& c) { c.decay = ops::DecayKind::manhattan; }),
            "file: model: decay is manhattan, expected raster or row with scan = causal: manhattan decay "
            "looks in all "
            "directions");
  EXPECT_EQ(refusal([](auto& c) { c.layer_scale = -1; }),
            "file: model: layer_scale is -1, expected 0 (none) to 1");
  EXPECT_EQ(refusal([](auto& c) {
              c.base_grid = {8, 0};
            }),
            "file: model: base_grid is 8 × 0, expected rows and columns of 1 to 65536, or 0 for the grid of "
            "image_size");
  EXPECT_EQ(refusal(
                [](auto& c) {
                  c.base_grid = {8, 8};
                },
                cases::vit("tiny")),
            "file: model: base_grid is 8 × 8, expected 0 with mixer = attention, which has neither decay nor "
            "rotation");
  EXPECT_EQ(refusal([](auto& c) { c.learned_decay = true; }, cases::vit("tiny")),
            "file: model: learned_decay is true, expected false with mixer = attention, which has no decay");
  EXPECT_EQ(refusal([](auto& c) { c.scan = Scan::causal; }, cases::vit("tiny")),
            "file: model: scan is causal, expected bidirectional with mixer = attention, which always sees "
            "the whole "
            "image");
  EXPECT_EQ(refusal([](auto& c) { c.class_token = true; }, cases::vit("tiny")),
            "file: model: pool is mean, expected token with mixer = attention and class_token = true");
}

TEST(ModelConfigText, SetsAndShowsEveryKey) {
  for (const std::string& key : config_keys()) {
    const ModelConfig source = cases::local("source");
    ModelConfig target;
    set_config_value(target, key, config_value(source, key), "--key");
    EXPECT_EQ(config_value(target, key), config_value(source, key)) << key;
  }
  ModelConfig config;
  set_config_value(config, "image_size", "96", "--img-size");
  EXPECT_EQ(config_value(config, "image_size"), "96,96");
  EXPECT_EQ(config_choices("decay"), (std::vector<std::string>{"raster", "row", "manhattan"}));
  EXPECT_TRUE(config_choices("width").empty());
  EXPECT_EQ(message_of([&] { set_config_value(config, "image_size", "96x", "--img-size"); }),
            "--img-size is '96x', expected one whole number, or height,width");
  EXPECT_EQ(message_of([&] { set_config_value(config, "decay", "rows", "--decay"); }),
            "--decay is 'rows', expected one of raster, row, manhattan. Did you mean 'row'?");
  EXPECT_EQ(message_of([&] { set_config_value(config, "cpe", "yes", "--cpe"); }),
            "--cpe is 'yes', expected one of true, false.");
  EXPECT_EQ(message_of([&] { set_config_value(config, "dephth", "1", "config.toml"); }),
            "config.toml: unknown key 'dephth'. Did you mean 'depth'?");
}

}  // namespace
}  // namespace vretnet::vision
