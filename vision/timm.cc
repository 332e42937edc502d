#include "vision/timm.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "core/base/error.h"

namespace vretnet::vision {
namespace {

using model::SafetensorsFile;
using model::StoredTensor;

constexpr std::int64_t kHeadWidth = 64;
constexpr double kCropFraction = 0.9;

// A tensor that a timm ViT has, of the rank that it has there.
const StoredTensor& require(const SafetensorsFile& file, const std::string& name, std::size_t rank) {
  const StoredTensor* tensor = file.find(name);
  if (!tensor) {
    throw UsageError(
        fmt::format("{}: neither a model file of vretnet (no metadata `format` = `vretnet`) nor a ViT of "
                    "timm: '{}' is missing",
                    file.path().string(), name));
  }
  if (tensor->shape.size() != rank || tensor->elements() == 0) {
    throw UsageError(fmt::format("{}: '{}' has shape [{}], expected {} extents above 0", file.path().string(),
                                 name, fmt::join(tensor->shape, ", "), rank));
  }
  return *tensor;
}

std::int64_t count_blocks(const SafetensorsFile& file) {
  std::int64_t blocks = 0;
  while (file.find(fmt::format("blocks.{}.attn.qkv.weight", blocks))) ++blocks;
  return blocks;
}

ModelConfig config_of(const SafetensorsFile& file) {
  const std::string where = file.path().string();
  const auto& class_token = require(file, "cls_token", 3).shape;
  require(file, "blocks.0.attn.qkv.weight", 2);
  const auto& hidden = require(file, "blocks.0.mlp.fc1.weight", 2).shape;
  const auto& patch = require(file, "patch_embed.proj.weight", 4).shape;
  const auto& positions = require(file, "pos_embed", 3).shape;
  const auto& head = require(file, "head.weight", 2).shape;

  ModelConfig config;
  config.width = class_token[2];
  if (config.width % kHeadWidth != 0) {
    throw UsageError(fmt::format("{}: 'cls_token' is {} wide, expected a multiple of {} (heads of {})", where,
                                 config.width, kHeadWidth, kHeadWidth));
  }
  const std::int64_t side = std::llround(std::sqrt(static_cast<double>(positions[1] - 1)));
  if (positions[1] < 2 || side * side != positions[1] - 1) {
    throw UsageError(
        fmt::format("{}: 'pos_embed' has {} tokens, expected a class token and a square of patches", where,
                    positions[1]));
  }
  config.name = file.path().stem().string();
  config.patch_size = patch[2];
  config.in_chans = patch[1];
  config.image_size = {side * config.patch_size, side * config.patch_size};
  config.depth = count_blocks(file);
  config.heads = config.width / kHeadWidth;
  config.classes = head[0];
  config.value_factor = 1;
  config.ffn_factor = static_cast<double>(hidden[0]) / static_cast<double>(config.width);
  config.scan = Scan::bidirectional;
  config.position = retention::Position::none;
  config.pool = layers::Pool::token;
  config.learned_position = true;
  config.gate = false;
  config.mixer = MixerKind::attention;
  config.class_token = true;
  validate(config, where);
  return config;
}

}  // namespace

Description describe_timm(const SafetensorsFile& file) {
  Description description;
  description.config = config_of(file);
  Preprocessing& preprocessing = description.preprocessing;
  preprocessing = default_preprocessing(description.config);
  preprocessing.crop_fraction = kCropFraction;
  preprocessing.interpolation = Interpolation::Bicubic;
  preprocessing.mean.assign(static_cast<std::size_t>(description.config.in_chans), 0.5f);
  preprocessing.deviation = preprocessing.mean;
  for (std::int64_t i = 0; i < description.config.classes; ++i) {
    description.class_names.push_back(std::to_string(i));
  }
  return description;
}

}  // namespace vretnet::vision
