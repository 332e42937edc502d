// The flags of a training recipe: what to train on, which model, how. Everything here goes into the run's
// config.toml.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/training/mixing.h"
#include "core/training/trainer.h"
#include "vision/image/augment.h"
#include "vision/model_file.h"

namespace vretnet::tools {

struct Recipe {
  std::string data_dir, model = "vretnet_nano_patch4_32";
  double val_split = 0.1;
  std::int64_t limit_train = 0, limit_val = 0;
  std::map<std::string, std::string> model_overrides;  // key of the model config → text

  std::int64_t epochs = 100, cooldown_epochs = 0, batch_size = 128, accumulation = 1;
  std::int64_t patience = 0;  // 0: train to the end
  double learning_rate = 1e-3, minimum_learning_rate = 1e-5, warmup_epochs = 5;
  std::string optimizer = "adamw", schedule = "cosine";
  double weight_decay = 0.05, smoothing = 0.1, clip_norm = 1.0, ema = 0;
  double beta1 = 0.9, beta2 = 0.999;
  std::string class_weights = "none";  // inv, sqrt-inv, a file
  bool balanced = false;
  std::uint64_t seed = 42;

  std::string crop = "auto";  // resized, pad, none
  std::vector<double> scale{0.08, 1.0}, ratio{3.0 / 4, 4.0 / 3};
  int pad = 4;
  double flip = 0.5;
  bool reduced_decoding = false;
  std::vector<double> color_jitter{0, 0, 0, 0};
  std::string auto_augment;  // "": none
  double erase_probability = 0;
  std::string erase_mode = "pixel";
  double mixup = 0, cutmix = 0, mix_probability = 1, mix_switch_probability = 0.5;
  std::int64_t mix_off_epoch = 0;
  std::vector<float> mean, deviation;
  std::string interpolation;  // "": the model's
  double crop_fraction = 0;   // 0: the model's
};

void add_recipe_flags(CLI::App& app, Recipe& recipe);
// A flag for every key of a model config (--img-size, --depth, --scan …), kept as text until the model is
// known. `but` is a key whose flag the command has in another way.
void add_model_override_flags(CLI::App& app, std::map<std::string, std::string>& overrides,
                              const std::string& but = "");
// Sets the overridden keys. Throws UsageError naming the flag.
void apply_overrides(vision::ModelConfig& config, const std::map<std::string, std::string>& overrides);
// --img-size as commands outside of training take it: "224", or "HEIGHTxWIDTH".
void set_image_size(vision::ModelConfig& config, const std::string& text);

// Throws UsageError where no model can be built from the config; it names the overriding flag that is to
// blame.
void validate_overridden(const vision::ModelConfig& config,
                         const std::map<std::string, std::string>& overrides);
// The flag of the first key that is overridden ("--depth"), or "".
std::string overriding_flag(const std::map<std::string, std::string>& overrides);

// What --warmup-epochs is where it is not given.
double default_warmup_epochs(std::int64_t epochs);
// Throws UsageError where the warm-up would not end.
void check_warmup(const Recipe& recipe);
training::TrainingOptions training_options(const Recipe& recipe);
// `start`, a model file's or the default one, with the config's size and whatever the recipe says.
vision::Preprocessing preprocessing_of(const Recipe& recipe, const vision::ModelConfig& config,
                                       vision::Preprocessing start);
training::MixingOptions mixing_options(const Recipe& recipe);
vision::Augmentation augmentation_of(const Recipe& recipe, const vision::Preprocessing& preprocessing);

}  // namespace vretnet::tools
