#include "vision/registry.h"

#include <fmt/format.h>

#include "core/base/did_you_mean.h"
#include "core/base/error.h"

namespace vretnet::vision {
namespace {

struct NamedSize {
  const char* name;
  std::int64_t image_size, patch_size, in_chans, width, depth, heads, classes;
  std::int64_t local_heads;  // 0: there is no `_local` form
};

constexpr NamedSize kNamedSizes[] = {
    {"pico_patch4_28", 28, 4, 1, 96, 4, 3, 10, 3},
    {"pico_patch4_32", 32, 4, 3, 96, 4, 3, 10, 3},
    {"nano_patch4_32", 32, 4, 3, 192, 6, 6, 10, 6},
    {"tiny_patch16_224", 224, 16, 3, 192, 12, 3, 1000, 6},
    {"small_patch16_224", 224, 16, 3, 384, 12, 6, 1000, 0},
    {"base_patch16_224", 224, 16, 3, 768, 12, 12, 1000, 0},
};

constexpr double kLocalFfnFactor = 3.5, kVitFfnFactor = 4;

ModelConfig sized(const NamedSize& size, std::int64_t heads) {
  ModelConfig config;
  config.image_size = {size.image_size, size.image_size};
  config.patch_size = size.patch_size;
  config.in_chans = size.in_chans;
  config.width = size.width;
  config.depth = size.depth;
  config.heads = heads;
  config.classes = size.classes;
  return config;
}

// The block of the local form, whatever its mixer.
void make_local(ModelConfig& config) {
  config.stem = Stem::conv;
  config.cpe = true;
  config.value_factor = 1;
  config.ffn_factor = kLocalFfnFactor;
}

// The paper's: a causal scan of the raster with its rotation and slow decays. All of it is ModelConfig's
// default.
ModelConfig classic(const NamedSize& size) {
  return sized(size, size.heads);
}

// The scan and decay that measured best.
ModelConfig local(const NamedSize& size) {
  ModelConfig config = sized(size, size.local_heads);
  make_local(config);
  config.lepe = true;
  config.scan = Scan::bidirectional;
  config.decay = ops::DecayKind::row;
  config.decay_speed = retention::DecaySpeed::fast;
  config.position = retention::Position::axial;
  return config;
}

// Keys of retention get the values that come nearest to what softmax attention does.
void make_attention(ModelConfig& config) {
  config.mixer = MixerKind::attention;
  config.scan = Scan::bidirectional;
  config.position = retention::Position::none;
  config.value_factor = 1;
  config.gate = false;
  config.learned_position = true;
}

// timm has the sizes of 224 pixels, with a class token.
ModelConfig vit(const NamedSize& size) {
  ModelConfig config = sized(size, size.heads);
  make_attention(config);
  config.ffn_factor = kVitFfnFactor;
  if (size.image_size == 224) {
    config.class_token = true;
    config.pool = layers::Pool::token;
  }
  return config;
}

ModelConfig vit_local(const NamedSize& size) {
  ModelConfig config = sized(size, size.local_heads);
  make_attention(config);
  make_local(config);
  return config;
}

std::vector<ModelConfig> make_models() {
  std::vector<ModelConfig> models;
  const auto add = [&](const char* family, const NamedSize& size, const char* form, ModelConfig config) {
    config.name = fmt::format("{}_{}{}", family, size.name, form);
    models.push_back(std::move(config));
  };
  for (const NamedSize& size : kNamedSizes) {
    add("vretnet", size, "", classic(size));
    if (size.local_heads > 0) add("vretnet", size, "_local", local(size));
  }
  for (const NamedSize& size : kNamedSizes) {
    add("vit", size, "", vit(size));
    if (size.local_heads > 0) add("vit", size, "_local", vit_local(size));
  }
  return models;
}

const std::vector<ModelConfig>& models() {
  static const std::vector<ModelConfig> all = make_models();
  return all;
}

}  // namespace

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const ModelConfig& config : models()) names.push_back(config.name);
  return names;
}

ModelConfig find_model_config(const std::string& name) {
  for (const ModelConfig& config : models()) {
    if (config.name == name) return config;
  }
  throw UsageError(fmt::format("'{}' is not the name of a model; `vretnet models` lists them.{}", name,
                               did_you_mean(name, model_names())));
}

}  // namespace vretnet::vision
