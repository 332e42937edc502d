#include "vision/model_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <cmath>

#include "core/base/did_you_mean.h"
#include "core/base/error.h"
#include "vision/config_fields.h"

namespace vretnet::vision {
namespace {

// Far above any model of ours: a lying file must not make us compute with absurd sizes.
constexpr std::int64_t kLargestSide = 1 << 16, kLargestWidth = 1 << 16, kLargestDepth = 1000,
                       kLargestClasses = 1 << 20;

std::int64_t times(std::int64_t width, double factor) {
  return std::llround(static_cast<double>(width) * factor);
}

class Validator {
 public:
  Validator(const ModelConfig& config, const std::string& where) : config_(config), where_(where) {}

  void run() const {
    ranges();
    image();
    widths();
    layer_scale();
    base_grid();
    if (config_.mixer == MixerKind::retention) {
      retention();
    } else {
      attention();
    }
  }

 private:
  template <class... Args>
  void expect(bool condition, fmt::format_string<Args...> format, Args&&... args) const {
    if (condition) return;
    throw UsageError(where_ + ": " + fmt::format(format, std::forward<Args>(args)...));
  }

  void between(const char* key, std::int64_t value, std::int64_t largest) const {
    expect(value >= 1 && value <= largest, "{} is {}, expected 1 to {}", key, value, largest);
  }

  void ranges() const {
    between("image_size", config_.image_size[0], kLargestSide);
    between("image_size", config_.image_size[1], kLargestSide);
    between("patch_size", config_.patch_size, kLargestSide);
    between("in_chans", config_.in_chans, kLargestWidth);
    between("width", config_.width, kLargestWidth);
    between("depth", config_.depth, kLargestDepth);
    between("heads", config_.heads, config_.width);
    between("classes", config_.classes, kLargestClasses);
    epsilon("norm_epsilon", config_.norm_epsilon);
    epsilon("head_norm_epsilon", config_.head_norm_epsilon);
  }

  void epsilon(const char* key, double value) const {
    expect(value >= 0 && value <= 1, "{} is {}, expected 0 to 1", key, value);
  }

  void image() const {
    const std::int64_t patch = config_.patch_size;
    for (const std::int64_t side : config_.image_size) {
      expect(side % patch == 0, "image_size is {} × {}, expected multiples of patch_size {}",
             config_.image_size[0], config_.image_size[1], patch);
    }
    if (config_.stem != Stem::conv) return;
    expect(patch >= 2 && std::has_single_bit(static_cast<std::uint64_t>(patch)),
           "patch_size is {}, but stem = conv halves the image: expected 2, 4, 8, 16 …", patch);
    const std::int64_t halvings = std::int64_t{1} << (config_.stem_stages() - 1);
    expect(config_.width % halvings == 0,
           "width is {}, expected a multiple of {} for stem = conv and patch_size {}", config_.width,
           halvings, patch);
  }

  void layer_scale() const {
    expect(config_.layer_scale >= 0 && config_.layer_scale <= 1, "layer_scale is {}, expected 0 (none) to 1",
           config_.layer_scale);
  }

  void base_grid() const {
    const auto [rows, columns] = config_.base_grid;
    if (rows == 0 && columns == 0) return;
    expect(rows >= 1 && columns >= 1 && rows <= kLargestSide && columns <= kLargestSide,
           "base_grid is {} × {}, expected rows and columns of 1 to {}, or 0 for the grid of image_size",
           rows, columns, kLargestSide);
    expect(config_.mixer == MixerKind::retention,
           "base_grid is {} × {}, expected 0 with mixer = attention, which has neither decay nor rotation",
           rows, columns);
  }

  void factor(const char* key, double value) const {
    const double product = value * static_cast<double>(config_.width);
    expect(value > 0 && product <= kLargestWidth,
           "{} is {}, expected a number above 0 and width · {} up to {}", key, value, key, kLargestWidth);
    expect(product >= 1 && std::abs(product - std::round(product)) < 1e-6,
           "{} is {}, expected a whole number when multiplied by width {}", key, value, config_.width);
  }

  void widths() const {
    expect(config_.width % config_.heads == 0, "heads is {}, expected a divisor of width {}", config_.heads,
           config_.width);
    factor("ffn_factor", config_.ffn_factor);
  }

  void retention() const {
    factor("value_factor", config_.value_factor);
    expect(config_.value_width() % config_.heads == 0,
           "heads is {}, expected a divisor of width · value_factor, {}", config_.heads,
           config_.value_width());
    expect(config_.width / config_.heads % 2 == 0,
           "heads is {}, which makes keys of {} elements; positions turn pairs: expected an even number",
           config_.heads, config_.width / config_.heads);
    expect(config_.scan != Scan::cross || config_.heads >= 4,
           "heads is {}, expected 4 or more with scan = cross, whose four orders share them out",
           config_.heads);
    expect(
        config_.decay != ops::DecayKind::manhattan || config_.scan == Scan::bidirectional,
        "decay is manhattan, expected raster or row with scan = {}: manhattan decay looks in all directions",
        name_of_choice(config_.scan));
    expect(!config_.class_token, "class_token is true, expected false with mixer = retention");
    expect(config_.pool != layers::Pool::token,
           "pool is token, expected mean, last or sequence with mixer = retention");
    expect(config_.pool != layers::Pool::last || config_.scan == Scan::causal,
           "pool is last, expected mean or sequence with scan = {}: only a causal scan's last token has seen "
           "the image",
           name_of_choice(config_.scan));
  }

  void attention() const {
    expect(config_.scan == Scan::bidirectional,
           "scan is {}, expected bidirectional with mixer = attention, which always sees the whole image",
           name_of_choice(config_.scan));
    const bool pools_tokens = config_.pool == layers::Pool::mean || config_.pool == layers::Pool::sequence;
    expect(config_.class_token ? config_.pool == layers::Pool::token : pools_tokens,
           "pool is {}, expected {} with mixer = attention and class_token = {}",
           name_of_choice(config_.pool), config_.class_token ? "token" : "mean or sequence",
           config_.class_token);
    expect(!config_.learned_decay,
           "learned_decay is true, expected false with mixer = attention, which has no decay");
    expect(!config_.class_token || !config_.cpe, "cpe is true, expected false with class_token = true");
  }

  const ModelConfig& config_;
  const std::string& where_;
};

}  // namespace

std::int64_t ModelConfig::value_width() const {
  return times(width, value_factor);
}

std::int64_t ModelConfig::ffn_width() const {
  return times(width, ffn_factor);
}

std::int64_t ModelConfig::stem_stages() const {
  return stem == Stem::conv ? std::countr_zero(static_cast<std::uint64_t>(patch_size)) : 0;
}

std::int64_t ModelConfig::stem_width(std::int64_t stage) const {
  return width >> (stem_stages() - 1 - stage);
}

retention::GridScale ModelConfig::grid_scale() const {
  if (base_grid[0] == 0) return {};
  return {static_cast<double>(rows()) / static_cast<double>(base_grid[0]),
          static_cast<double>(columns()) / static_cast<double>(base_grid[1])};
}

void validate(const ModelConfig& config, const std::string& where) {
  Validator(config, where).run();
}

void refuse_choice(const std::string& where, const std::string& found,
                   const std::vector<std::string>& choices) {
  throw UsageError(fmt::format("{} is '{}', expected one of {}.{}", where, found, fmt::join(choices, ", "),
                               did_you_mean(found, choices)));
}

}  // namespace vretnet::vision
