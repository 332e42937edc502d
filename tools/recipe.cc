#include "tools/recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/base/error.h"
#include "tools/command.h"

namespace vretnet::tools {
namespace {

// Keys of the model config that are flags, with their help. Others follow from these or from the data.
struct ModelFlag {
  const char* flag;
  const char* key;
  const char* help;
};
constexpr std::array kModelFlags = {
    ModelFlag{"--img-size,--imgsz", "image_size", "pixels: 224, or HEIGHT,WIDTH"},
    ModelFlag{"--in-chans", "in_chans", "1 grey, 3 colour"},
    ModelFlag{"--patch-size", "patch_size", "pixels of a patch's side"},
    ModelFlag{"--width", "width", "numbers of a token"},
    ModelFlag{"--depth", "depth", "blocks"},
    ModelFlag{"--heads", "heads", "heads of a block"},
    ModelFlag{"--value-factor", "value_factor", "width of the values over width"},
    ModelFlag{"--ffn-factor", "ffn_factor", "hidden width of the feed-forward over width"},
    ModelFlag{"--stem", "stem", "patch or conv"},
    ModelFlag{"--scan", "scan", "causal, alternate, bidirectional or cross"},
    ModelFlag{"--decay", "decay", "raster, row or manhattan (bidirectional only)"},
    ModelFlag{"--decay-speed", "decay_speed", "slow or fast"},
    ModelFlag{"--learned-decay", "learned_decay",
              "true: each layer learns its heads' decays, from those of --decay-speed on"},
    ModelFlag{"--position", "position", "rotation of queries and keys: none, raster or axial"},
    ModelFlag{"--pool", "pool", "mean, last (causal only) or sequence (learned weights)"},
    ModelFlag{"--learned-position", "learned_position", "true: a learned vector a patch"},
    ModelFlag{"--cpe", "cpe", "true: a depthwise convolution before each block"},
    ModelFlag{"--lepe", "lepe", "true: a depthwise convolution of the values"},
    ModelFlag{"--gate", "gate", "false: no gate on retention's output"},
    ModelFlag{"--head-norm", "head_norm", "layer or rms"},
    ModelFlag{"--layer-scale", "layer_scale",
              "first value of a learned factor a channel of each branch; 0: none"},
    ModelFlag{
        "--base-grid", "base_grid",
        "ROWS,COLUMNS of patches that decays and rotations are laid out for (0: a model file's own grid, "
        "or that of --img-size)"},
};

// The first of its names: "--img-size".
std::string name_of(const ModelFlag& flag) {
  const std::string names = flag.flag;
  return names.substr(0, names.find(','));
}

// "224x192" as set_config_value takes two numbers.
std::string with_comma(std::string text) {
  std::replace(text.begin(), text.end(), 'x', ',');
  return text;
}

constexpr int kSmallImage =
    64;  // up to here pad-and-crop is the usual augmentation, above random-resized crop

void add_mixing_flags(CLI::App& app, Recipe& recipe) {
  const char* group = "Augmentation";
  const auto alpha = number_range(0.0, 1000), chance = number_range(0.0, 1.0);
  app.add_option("--mixup", recipe.mixup, "alpha of mixup, which blends two images (0: off)")
      ->check(alpha)
      ->group(group);
  app.add_option("--cutmix", recipe.cutmix, "alpha of cutmix, which pastes a part of another image (0: off)")
      ->check(alpha)
      ->group(group);
  app.add_option("--mixup-prob", recipe.mix_probability, "chance that a batch is mixed")
      ->check(chance)
      ->group(group);
  app.add_option("--mixup-switch-prob", recipe.mix_switch_probability, "chance of cutmix where both are on")
      ->check(chance)
      ->group(group);
  app.add_option("--mixup-off-epoch", recipe.mix_off_epoch, "no mixing after so many epochs (0: to the end)")
      ->check(count_range(0))
      ->group(group);
}

}  // namespace

void add_model_override_flags(CLI::App& app, std::map<std::string, std::string>& overrides,
                              const std::string& but) {
  for (const ModelFlag& flag : kModelFlags) {
    if (flag.key == but) continue;
    CLI::Option* option =
        app.add_option(flag.flag, overrides[flag.key], flag.help)->group("Model (overrides its name)");
    const std::vector<std::string> choices = vision::config_choices(flag.key);
    if (!choices.empty()) option->check(CLI::IsMember(choices));
  }
}

void apply_overrides(vision::ModelConfig& config, const std::map<std::string, std::string>& overrides) {
  for (const ModelFlag& flag : kModelFlags) {
    const auto text = overrides.find(flag.key);
    if (text == overrides.end() || text->second.empty()) continue;
    const bool two_numbers =
        flag.key == std::string_view("image_size") || flag.key == std::string_view("base_grid");
    vision::set_config_value(config, flag.key, two_numbers ? with_comma(text->second) : text->second,
                             name_of(flag));
  }
}

void set_image_size(vision::ModelConfig& config, const std::string& text) {
  vision::set_config_value(config, "image_size", with_comma(text), "--img-size");
}

void set_base_grid(vision::ModelConfig& config, const std::string& text) {
  vision::set_config_value(config, "base_grid", with_comma(text), "--base-grid");
}

void validate_overridden(const vision::ModelConfig& config,
                         const std::map<std::string, std::string>& overrides) {
  const std::string model = "--model";
  try {
    vision::validate(config, model);
  } catch (const UsageError& error) {
    // "image_size is 30 × 30, expected multiples of patch_size 4": the first overridden key that is named.
    const std::string reason = std::string(error.what()).substr(model.size() + 2);
    std::string blamed = model;
    std::size_t first = std::string::npos;
    for (const ModelFlag& flag : kModelFlags) {
      const auto text = overrides.find(flag.key);
      const std::size_t place = reason.find(flag.key);
      if (text == overrides.end() || text->second.empty() || place >= first) continue;
      first = place;
      blamed = name_of(flag);
    }
    throw UsageError(blamed + ": " + reason);
  }
}

std::string overriding_flag(const std::map<std::string, std::string>& overrides) {
  for (const ModelFlag& flag : kModelFlags) {
    const auto text = overrides.find(flag.key);
    if (text != overrides.end() && !text->second.empty()) return name_of(flag);
  }
  return "";
}

void add_recipe_flags(CLI::App& app, Recipe& recipe) {
  app.add_option("-d,--data-dir,--data-path,--data", recipe.data_dir,
                 "ImageFolder (train/, val/ or classes), IDX folder, or fashion-mnist");
  app.add_option("-m,--model,--checkpoint", recipe.model,
                 "a name (vretnet models) or a model file to fine-tune");
  app.add_option("--val-split", recipe.val_split, "share kept for validation where there is no val/")
      ->check(number_range(0.0, 0.9));
  app.add_option("--limit-train", recipe.limit_train, "train on so many images only")->check(count_range(0));
  app.add_option("--limit-val", recipe.limit_val, "validate on so many images only")->check(count_range(0));
  add_model_override_flags(app, recipe.model_overrides);

  const char* group = "Recipe";
  const auto whole = count_range(1);
  const auto rate = number_range(0.0, 1e6);
  app.add_option("--epochs", recipe.epochs, "times through the images")->check(whole)->group(group);
  app.add_option("-b,--batch-size", recipe.batch_size, "images of a batch")
      ->check(count_range(1, 1 << 20))
      ->group(group);
  app.add_option("--accumulate,--grad-accum-steps", recipe.accumulation, "batches of one optimizer step")
      ->check(whole)
      ->group(group);
  app.add_option("--lr", recipe.learning_rate, "peak learning rate")->check(rate)->group(group);
  app.add_option("--min-lr", recipe.minimum_learning_rate, "learning rate of the last step")
      ->check(rate)
      ->group(group);
  app.add_option("--warmup-epochs", recipe.warmup_epochs,
                 "epochs of rising learning rate (default: 5, at most a quarter of all)")
      ->check(rate)
      ->group(group);
  app.add_option("--cooldown-epochs", recipe.cooldown_epochs, "epochs at --min-lr after --epochs")
      ->check(count_range(0))
      ->group(group);
  app.add_option("--sched", recipe.schedule, "cosine or constant")
      ->check(CLI::IsMember({"cosine", "constant"}))
      ->group(group);
  app.add_option("--opt", recipe.optimizer, "adamw")->check(CLI::IsMember({"adamw"}))->group(group);
  app.add_option("--weight-decay,--wd", recipe.weight_decay, "not for norms and biases")
      ->check(rate)
      ->group(group);
  app.add_option("--beta1", recipe.beta1, "AdamW")->check(number_range(0.0, 0.99999))->group(group);
  app.add_option("--beta2", recipe.beta2, "AdamW")->check(number_range(0.0, 0.9999999))->group(group);
  app.add_option("--smoothing", recipe.smoothing, "label smoothing")
      ->check(number_range(0.0, 0.99))
      ->group(group);
  app.add_option("--drop-path", recipe.drop_path,
                 "chance that an image skips a branch of the last block; less before, 0 in the first")
      ->check(number_range(0.0, 0.999999))
      ->group(group);
  app.add_option("--clip-grad", recipe.clip_norm, "largest length of the gradient (0: any)")
      ->check(rate)
      ->group(group);
  app.add_option("--ema", recipe.ema, "decay of the moving average of weights (0: none)")
      ->check(number_range(0.0, 0.999999))
      ->group(group);
  app.add_option("--patience", recipe.patience,
                 "stop after so many epochs without a better validation accuracy (0: never)")
      ->check(count_range(0))
      ->group(group);
  app.add_option("--class-weights", recipe.class_weights,
                 "of the loss: none, inv (1/images of the class), sqrt-inv, or a JSON file")
      ->group(group);
  app.add_flag("--balanced", recipe.balanced, "each class as often in an epoch, however many images it has")
      ->group(group);
  app.add_option("--seed", recipe.seed, "of first weights, order and augmentation")
      ->check(count_range(0, kLargestSeed))
      ->group(group);

  group = "Augmentation";
  app.add_option("--crop", recipe.crop, "auto, resized, pad or none")
      ->check(CLI::IsMember({"auto", "resized", "pad", "none"}))
      ->group(group);
  // CLI11 writes defaults with six digits; config.toml must give the very same numbers again.
  const auto exactly = [](const std::vector<double>& values) {
    return fmt::format("{}", fmt::join(values, ","));
  };
  app.add_option("--scale", recipe.scale, "area of a resized crop: LOW,HIGH")
      ->expected(2)
      ->delimiter(',')
      ->default_str(exactly(recipe.scale))
      ->check(number_range(0, 1))
      ->group(group);
  app.add_option("--ratio", recipe.ratio, "width / height of a resized crop: LOW,HIGH")
      ->expected(2)
      ->delimiter(',')
      ->default_str(exactly(recipe.ratio))
      ->check(number_range(0, 100))
      ->group(group);
  app.add_option("--pad", recipe.pad, "pixels around the image for --crop pad")
      ->check(count_range(0, 4096))
      ->group(group);
  app.add_option("--hflip", recipe.flip, "chance of exchanging left and right")
      ->check(number_range(0.0, 1.0))
      ->group(group);
  app.add_option("--color-jitter", recipe.color_jitter, "brightness,contrast,saturation,hue")
      ->expected(4)
      ->delimiter(',')
      ->check(number_range(0, 100))
      ->group(group);
  app.add_option("--auto-augment,--aa", recipe.auto_augment,
                 "RandAugment as timm writes it: rand-m9-n2-mstd0.5-inc1")
      ->group(group);
  const auto chance = number_range(0.0, 1.0);
  app.add_option("--reprob", recipe.erase_probability, "chance of erasing a rectangle")
      ->check(chance)
      ->group(group);
  app.add_option("--remode", recipe.erase_mode, "what fills it: const, rand or pixel")
      ->check(CLI::IsMember({"const", "rand", "pixel"}))
      ->group(group);
  add_mixing_flags(app, recipe);
  app.add_flag("--reduced-decoding", recipe.reduced_decoding,
               "decode large JPEGs at 1/2 or 1/4: faster, pixels differ a little; with --cache off")
      ->group(group);
  const auto channel = number_range(-1000, 1000);
  app.add_option("--mean", recipe.mean, "per channel, of values 0 … 1")
      ->delimiter(',')
      ->check(channel)
      ->group(group);
  app.add_option("--std", recipe.deviation, "per channel, of values 0 … 1")
      ->delimiter(',')
      ->check(channel)
      ->group(group);
  app.add_option("--interpolation", recipe.interpolation, "bilinear or bicubic (default: the model's)")
      ->check(CLI::IsMember({"bilinear", "bicubic"}))
      ->group(group);
  app.add_option("--crop-pct", recipe.crop_fraction, "centre kept in evaluation (0: the model's)")
      ->check(number_range(0.0, 1.0))
      ->group(group);
}

double default_warmup_epochs(std::int64_t epochs) {
  return std::min(Recipe().warmup_epochs, static_cast<double>(epochs) / 4);
}

void check_warmup(const Recipe& recipe) {
  if (recipe.warmup_epochs < static_cast<double>(recipe.epochs)) return;
  throw UsageError(fmt::format("--warmup-epochs: {}, expected less than the {} of --epochs",
                               recipe.warmup_epochs, recipe.epochs));
}

training::TrainingOptions training_options(const Recipe& recipe) {
  training::TrainingOptions options;
  options.epochs = recipe.epochs;
  options.cooldown_epochs = recipe.cooldown_epochs;
  options.accumulation = recipe.accumulation;
  options.learning_rate = recipe.learning_rate;
  options.minimum_learning_rate = std::min(recipe.minimum_learning_rate, recipe.learning_rate);
  options.warmup_start = std::min(options.warmup_start, recipe.learning_rate);
  options.warmup_epochs = recipe.warmup_epochs;
  options.constant_rate = recipe.schedule == "constant";
  options.smoothing = recipe.smoothing;
  options.drop_path = {recipe.drop_path, recipe.seed};
  options.optimizer.beta1 = recipe.beta1;
  options.optimizer.beta2 = recipe.beta2;
  options.optimizer.weight_decay = recipe.weight_decay;
  options.optimizer.clip_norm = recipe.clip_norm;
  options.optimizer.ema_decay = recipe.ema;
  return options;
}

training::MixingOptions mixing_options(const Recipe& recipe) {
  training::MixingOptions options;
  options.mixup = recipe.mixup;
  options.cutmix = recipe.cutmix;
  options.probability = recipe.mix_probability;
  options.switch_probability = recipe.mix_switch_probability;
  options.off_epoch = recipe.mix_off_epoch;
  options.seed = recipe.seed;
  return options;
}

vision::Preprocessing preprocessing_of(const Recipe& recipe, const vision::ModelConfig& config,
                                       vision::Preprocessing start) {
  if (config.in_chans != 1 && config.in_chans != 3) {
    throw UsageError(
        fmt::format("--in-chans: {}, but images are read as 1 channel (grey) or 3", config.in_chans));
  }
  vision::Preprocessing preprocessing = std::move(start);
  preprocessing.height = static_cast<int>(config.image_size[0]);
  preprocessing.width = static_cast<int>(config.image_size[1]);
  preprocessing.channels = static_cast<int>(config.in_chans);
  const auto set = [&](const char* flag, const std::vector<float>& given, std::vector<float>& target) {
    if (given.empty()) return;
    if (given.size() != 1 && static_cast<std::int64_t>(given.size()) != config.in_chans) {
      throw UsageError(fmt::format("{}: {} numbers for {} channels", flag, given.size(), config.in_chans));
    }
    target = given;
    target.resize(static_cast<std::size_t>(config.in_chans), given[0]);
  };
  set("--mean", recipe.mean, preprocessing.mean);
  set("--std", recipe.deviation, preprocessing.deviation);
  if (*std::min_element(preprocessing.deviation.begin(), preprocessing.deviation.end()) <= 0) {
    throw UsageError("--std: expected numbers above 0");
  }
  if (recipe.interpolation == "bilinear") preprocessing.interpolation = vision::Interpolation::Bilinear;
  if (recipe.interpolation == "bicubic") preprocessing.interpolation = vision::Interpolation::Bicubic;
  if (recipe.crop_fraction > 0) preprocessing.crop_fraction = recipe.crop_fraction;
  return preprocessing;
}

vision::Augmentation augmentation_of(const Recipe& recipe, const vision::Preprocessing& preprocessing) {
  const auto ordered = [](const char* flag, const std::vector<double>& range, double most) {
    if (range.size() != 2)
      throw UsageError(fmt::format("{}: {} numbers, expected LOW,HIGH", flag, range.size()));
    if (!(range[0] > 0 && range[0] <= range[1] && range[1] <= most)) {
      throw UsageError(
          fmt::format("{}: {},{}, expected 0 < LOW ≤ HIGH ≤ {}", flag, range[0], range[1], most));
    }
  };
  ordered("--scale", recipe.scale, 1);
  ordered("--ratio", recipe.ratio, 100);
  vision::Augmentation augmentation;
  const bool small = std::max(preprocessing.height, preprocessing.width) <= kSmallImage;
  augmentation.random_resized_crop = recipe.crop == "resized" || (recipe.crop == "auto" && !small);
  augmentation.pad_pixels = recipe.crop == "pad" || (recipe.crop == "auto" && small) ? recipe.pad : 0;
  augmentation.scale_low = recipe.scale[0];
  augmentation.scale_high = recipe.scale[1];
  augmentation.ratio_low = recipe.ratio[0];
  augmentation.ratio_high = recipe.ratio[1];
  augmentation.flip_probability = recipe.flip;
  augmentation.reduced_decoding = recipe.reduced_decoding;
  const std::vector<double>& jitter = recipe.color_jitter;
  if (jitter.size() != 4 || *std::min_element(jitter.begin(), jitter.end()) < 0 || jitter[3] > 0.5) {
    throw UsageError(
        "--color-jitter: expected BRIGHTNESS,CONTRAST,SATURATION,HUE of at least 0, the hue at most 0.5");
  }
  augmentation.brightness = jitter[0];
  augmentation.contrast = jitter[1];
  augmentation.saturation = jitter[2];
  augmentation.hue = jitter[3];
  if (!recipe.auto_augment.empty()) {
    augmentation.rand_augment =
        naming("--auto-augment", [&] { return vision::parse_rand_augment(recipe.auto_augment); });
  }
  augmentation.erasing.probability = recipe.erase_probability;
  augmentation.erasing.mode = recipe.erase_mode == "const"  ? vision::EraseMode::Constant
                              : recipe.erase_mode == "rand" ? vision::EraseMode::Colour
                                                            : vision::EraseMode::Pixel;
  return augmentation;
}

}  // namespace vretnet::tools
