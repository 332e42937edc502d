#include "vision/registry.h"

#include <gtest/gtest.h>

#include <map>

#include "core/base/error.h"
#include "vision/vision_model.h"

namespace vretnet::vision {
namespace {

TEST(Registry, HasTheZoo) {
  EXPECT_EQ(model_names(),
            (std::vector<std::string>{"vretnet_pico_patch4_28",    "vretnet_pico_patch4_28_local",
                                      "vretnet_pico_patch4_32",    "vretnet_pico_patch4_32_local",
                                      "vretnet_nano_patch4_32",    "vretnet_nano_patch4_32_local",
                                      "vretnet_tiny_patch16_224",  "vretnet_tiny_patch16_224_local",
                                      "vretnet_small_patch16_224", "vretnet_base_patch16_224",
                                      "vit_pico_patch4_28",        "vit_pico_patch4_28_local",
                                      "vit_pico_patch4_32",        "vit_pico_patch4_32_local",
                                      "vit_nano_patch4_32",        "vit_nano_patch4_32_local",
                                      "vit_tiny_patch16_224",      "vit_tiny_patch16_224_local",
                                      "vit_small_patch16_224",     "vit_base_patch16_224"}));
}

// Parameters in millions, rounded as the documentation's table has them; timm's to the last one.
TEST(Registry, ModelsHaveTheSizesTheyClaim) {
  const std::map<std::string, double> claims{
      {"vretnet_pico_patch4_28", 0.45},  {"vretnet_pico_patch4_32", 0.45},
      {"vretnet_nano_patch4_32", 2.7},   {"vretnet_nano_patch4_32_local", 2.9},
      {"vretnet_tiny_patch16_224", 5.7}, {"vretnet_tiny_patch16_224_local", 5.8},
      {"vretnet_small_patch16_224", 22}, {"vretnet_base_patch16_224", 86}};
  for (const auto& [name, millions] : claims) {
    const auto count = static_cast<double>(make_model(find_model_config(name))->parameters().count());
    EXPECT_NEAR(count / 1e6, millions, millions < 1 ? 0.006 : millions < 10 ? 0.051 : 0.51) << name;
  }
  const std::map<std::string, std::int64_t> timm{{"vit_tiny_patch16_224", 5717416},
                                                 {"vit_small_patch16_224", 22050664},
                                                 {"vit_base_patch16_224", 86567656}};
  for (const auto& [name, count] : timm) {
    EXPECT_EQ(make_model(find_model_config(name))->parameters().count(), count) << name;
  }
}

TEST(Registry, EveryModelIsValid) {
  for (const std::string& name : model_names()) {
    EXPECT_NO_THROW(validate(find_model_config(name), name)) << name;
    EXPECT_EQ(find_model_config(name).name, name);
  }
}

TEST(Registry, GuessesWhatWasMeant) {
  try {
    find_model_config("vretnet_pico_patch4_82");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("Did you mean 'vretnet_pico_patch4_28'?"), std::string::npos)
        << error.what();
  }
}

// Weight decay touches weights only.
TEST(VisionModel, NormsBiasesAndPositionsDoNotDecay) {
  for (const char* name : {"vretnet_pico_patch4_28_local", "vit_tiny_patch16_224"}) {
    const auto model = make_model(find_model_config(name));
    for (const layers::NamedTensor& tensor : model->parameters().tensors()) {
      const bool weight =
          tensor.shape.rank() >= 2 && tensor.name != "pos_embed" && tensor.name != "cls_token";
      EXPECT_EQ(tensor.decays, weight) << tensor.name;
    }
  }
}

}  // namespace
}  // namespace vretnet::vision
