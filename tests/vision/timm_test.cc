#include "vision/timm.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>

#include "core/base/error.h"
#include "tests/support/pass_bench.h"
#include "tests/support/usage_error.h"
#include "vision/registry.h"

namespace vretnet::vision {
namespace {

using vretnet::testing::message_of;

// A state dict of a tiny ViT as timm would name it, written and read back.
class TimmFile {
 public:
  explicit TimmFile(const std::function<void(ModelConfig&)>& change = {}) {
    config_ = find_model_config("vit_tiny_patch16_224");
    config_.image_size = {32, 32};
    config_.patch_size = 8;
    config_.width = 128;
    config_.heads = 2;
    config_.depth = 2;
    config_.ffn_factor = 3;
    config_.classes = 7;
    if (change) change(config_);
    const VisionModel model(config_);
    values_ = testing::PassBench::random_weights(model.parameters());
    for (const layers::NamedTensor& tensor : model.parameters().tensors()) {
      std::vector<std::int64_t> shape;
      for (int axis = 0; axis < tensor.shape.rank(); ++axis) shape.push_back(tensor.shape[axis]);
      const std::span<const double> part(values_.data() + tensor.offset, tensor.shape.elements());
      tensors_.push_back({tensor.name, model::StoredType::F64, shape, std::as_bytes(part)});
    }
  }
  ~TimmFile() { std::filesystem::remove(path_); }

  void drop(const std::string& name) {
    std::erase_if(tensors_, [&](const auto& tensor) { return tensor.name == name; });
  }
  model::SafetensorsFile file() const {
    model::write_safetensors(path_, {}, tensors_);
    return model::SafetensorsFile(path_);
  }
  const ModelConfig& config() const { return config_; }
  const std::vector<double>& values() const { return values_; }
  std::string path() const { return path_.string(); }

 private:
  // Tests may run side by side.
  std::filesystem::path path_ =
      std::filesystem::path(::testing::TempDir()) /
      (std::string("timm_") + ::testing::UnitTest::GetInstance()->current_test_info()->name() +
       ".safetensors");
  ModelConfig config_;
  std::vector<double> values_;
  std::vector<model::TensorToWrite> tensors_;
};

TEST(Timm, IsKnownByNamesAndShapes) {
  const TimmFile source;
  const model::SafetensorsFile file = source.file();
  const Description found = describe_timm(file);
  ModelConfig expected = source.config();
  expected.name = std::filesystem::path(source.path()).stem().string();
  EXPECT_EQ(to_json(found.config), to_json(expected));
  EXPECT_EQ(found.preprocessing.height, 32);
  EXPECT_EQ(found.preprocessing.crop_fraction, 0.9);
  EXPECT_EQ(found.preprocessing.mean, std::vector<float>(3, 0.5f));
  EXPECT_EQ(found.preprocessing.interpolation, Interpolation::Bicubic);
  EXPECT_EQ(found.class_names.size(), 7u);

  EXPECT_EQ(load_classifier(source.path()).values,
            std::vector<float>(source.values().begin(), source.values().end()));
}

TEST(Timm, OtherFilesAreRefusedByWhatTheyLack) {
  for (const char* name : {"cls_token", "pos_embed", "head.weight", "blocks.0.attn.qkv.weight"}) {
    TimmFile source;
    source.drop(name);
    const model::SafetensorsFile file = source.file();
    EXPECT_EQ(
        message_of([&] { describe_timm(file); }),
        source.path() +
            ": neither a model file of vretnet (no metadata `format` = `vretnet`) nor a ViT of timm: '" +
            name + "' is missing");
  }
  const TimmFile narrow([](ModelConfig& config) { config.width = 96; });
  EXPECT_EQ(message_of([&] { describe_timm(narrow.file()); }),
            narrow.path() + ": 'cls_token' is 96 wide, expected a multiple of 64 (heads of 64)");
  const TimmFile oblong([](ModelConfig& config) { config.image_size = {32, 24}; });
  EXPECT_EQ(message_of([&] { describe_timm(oblong.file()); }),
            oblong.path() + ": 'pos_embed' has 13 tokens, expected a class token and a square of patches");
}

}  // namespace
}  // namespace vretnet::vision
