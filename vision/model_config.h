// What a model is: the `model` object of a checkpoint, and what command lines and configs/ override.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/layers/pooling.h"
#include "core/ops/ops.h"
#include "core/retention/decay.h"
#include "core/retention/rotation.h"

namespace vretnet::vision {

enum class Stem : std::uint8_t { patch, conv };
// alternate: layers 1, 3, … (from 0) read backwards; cross: heads share out rows and columns, both ways.
enum class Scan : std::uint8_t { causal, alternate, bidirectional, cross };
enum class MixerKind : std::uint8_t { retention, attention };

struct ModelConfig {
  std::string name;
  std::array<std::int64_t, 2> image_size{224, 224};  // height, width
  std::int64_t patch_size = 16;
  std::int64_t in_chans = 3;
  std::int64_t width = 192;
  std::int64_t depth = 12;
  std::int64_t heads = 3;
  double value_factor = 2;  // width of V over width
  double ffn_factor = 2;    // hidden width of the feed-forward over width
  Stem stem = Stem::patch;
  Scan scan = Scan::causal;
  ops::DecayKind decay = ops::DecayKind::raster;
  retention::DecaySpeed decay_speed = retention::DecaySpeed::slow;
  retention::Position position = retention::Position::raster;
  layers::Pool pool = layers::Pool::mean;
  bool learned_position = false;
  bool cpe = false;   // X += DWConv3×3(X) before each block
  bool lepe = false;  // adds DWConv3×3(V) to retention's output
  bool gate = true;
  ops::HeadNormKind head_norm = ops::HeadNormKind::layer;
  double head_norm_epsilon = 1e-6;
  double norm_epsilon = 1e-6;
  std::int64_t classes = 1000;
  MixerKind mixer = MixerKind::retention;  // attention: value_factor, scan … head_norm_epsilon mean nothing
  bool class_token = false;                // attention only; pool = token
  double layer_scale = 0;  // first value of the residual branches' learned factors; 0: there are none
  // Rows and columns of the patch grid that retention's decays and rotations are laid out for, those of the
  // images first trained on; 0, 0: the grid of image_size.
  std::array<std::int64_t, 2> base_grid{0, 0};
  bool learned_decay = false;  // each layer learns its heads' decays, from those of decay_speed on

  bool operator==(const ModelConfig&) const = default;

  std::int64_t rows() const { return image_size[0] / patch_size; }  // of patches
  std::int64_t columns() const { return image_size[1] / patch_size; }
  std::int64_t tokens() const { return rows() * columns() + (class_token ? 1 : 0); }
  std::int64_t value_width() const;
  std::int64_t ffn_width() const;
  std::int64_t stem_stages() const;                   // of the conv stem: log2(patch_size)
  std::int64_t stem_width(std::int64_t stage) const;  // channels that a stage makes
  retention::GridScale grid_scale() const;            // of the grid of image_size against base_grid
  bool causal() const { return mixer == MixerKind::retention && scan == Scan::causal; }
};

// Throws UsageError beginning with `where` ("model.safetensors: model") that names the key, the value found
// and what is expected, when no model can be built from the config.
void validate(const ModelConfig& config, const std::string& where);

// JSON of all keys; `mixer`, `class_token`, `layer_scale`, `base_grid` and `learned_decay`, which few models
// need, are left out where they have their defaults.
std::string to_json(const ModelConfig& config);
// The inverse. Every key but those five must be there, and no other. Throws UsageError as validate(), which
// it calls.
ModelConfig parse_model_config(std::string_view json, const std::string& where);

// All keys, in the order of the struct.
std::vector<std::string> config_keys();
// The values that a key of a closed set can take ("scan": causal, alternate, bidirectional); else empty.
std::vector<std::string> config_choices(std::string_view key);
// Sets one key from a command line's text; image_size takes "224" or "224,192" (height, width), base_grid
// likewise. Throws
// UsageError beginning with `where` ("--img-size"). Does not validate the whole.
void set_config_value(ModelConfig& config, std::string_view key, const std::string& text,
                      const std::string& where);
// The value of a key as set_config_value takes it.
std::string config_value(const ModelConfig& config, std::string_view key);

}  // namespace vretnet::vision
