#include "vision/image/rand_augment.h"

#include <algorithm>

#include "vision/image/affine.h"
#include "vision/image/color.h"
#include "vision/image/point_operations.h"
#include "vision/image/sharpness.h"

namespace vretnet::vision {
namespace {

constexpr double kFullMagnitude = 10;
constexpr double kUniformDeviation = 100;  // a larger mstd means: uniform

double draw_magnitude(const RandAugment& policy, Random& random) {
  double magnitude = policy.magnitude;
  if (policy.magnitude_deviation > kUniformDeviation) {
    magnitude = random.uniform(0, magnitude);
  } else if (policy.magnitude_deviation > 0) {
    magnitude += policy.magnitude_deviation * random.normal();
  }
  return std::clamp(magnitude, 0.0, double(policy.largest_magnitude));
}

}  // namespace

const std::array<const char*, kAugmentOperations> kAugmentOperationNames = {
    "AutoContrast", "Equalize",    "Invert", "Rotate",        "Posterize",
    "Solarize",     "SolarizeAdd", "Color",  "Contrast",      "Brightness",
    "Sharpness",    "ShearX",      "ShearY", "TranslateXRel", "TranslateYRel"};

double operation_argument(AugmentOperation operation, double magnitude, bool increasing, bool opposite) {
  const double level = magnitude / kFullMagnitude;
  const auto either_way = [&](double value) { return opposite ? -value : value; };
  switch (operation) {
    case AugmentOperation::AutoContrast:
    case AugmentOperation::Equalize:
    case AugmentOperation::Invert:
      return 0;
    case AugmentOperation::Rotate:
      return either_way(level * 30);
    case AugmentOperation::Posterize:
      return increasing ? 4 - int(level * 4) : int(level * 4);
    case AugmentOperation::Solarize: {
      const int threshold = std::min(256, int(level * 256));
      return increasing ? 256 - threshold : threshold;
    }
    case AugmentOperation::SolarizeAdd:
      return std::min(128, int(level * 110));
    case AugmentOperation::Color:
    case AugmentOperation::Contrast:
    case AugmentOperation::Brightness:
    case AugmentOperation::Sharpness:
      return increasing ? std::max(0.1, 1.0 + either_way(level * 0.9)) : level * 1.8 + 0.1;
    case AugmentOperation::ShearX:
    case AugmentOperation::ShearY:
      return either_way(level * 0.3);
    case AugmentOperation::TranslateXRel:
    case AugmentOperation::TranslateYRel:
      return either_way(level * 0.45);
  }
  return 0;
}

void apply_operation(Image& image, AugmentOperation operation, double argument, Interpolation interpolation,
                     std::span<const std::uint8_t> fill) {
  const auto move = [&](const AffineMap& map) { image = affine_transform(image, map, interpolation, fill); };
  const float factor = float(argument);
  switch (operation) {
    case AugmentOperation::AutoContrast:
      return auto_contrast(image);
    case AugmentOperation::Equalize:
      return equalize(image);
    case AugmentOperation::Invert:
      return invert(image);
    case AugmentOperation::Rotate:
      return move(rotation({image.width, image.height}, argument));
    case AugmentOperation::Posterize:  // a magnitude above 10 asks for less than nothing
      return posterize(image, std::clamp(int(argument), 0, 8));
    case AugmentOperation::Solarize:
      return solarize(image, int(argument));
    case AugmentOperation::SolarizeAdd:
      return solarize_add(image, int(argument));
    case AugmentOperation::Color:
      return adjust_saturation(image, factor);
    case AugmentOperation::Contrast:
      return adjust_contrast(image, factor);
    case AugmentOperation::Brightness:
      return adjust_brightness(image, factor);
    case AugmentOperation::Sharpness:
      return adjust_sharpness(image, factor);
    case AugmentOperation::ShearX:
      return move({.xy = argument});
    case AugmentOperation::ShearY:
      return move({.yx = argument});
    case AugmentOperation::TranslateXRel:
      return move({.x0 = argument * image.width});
    case AugmentOperation::TranslateYRel:
      return move({.y0 = argument * image.height});
  }
}

void rand_augment(Image& image, const RandAugment& policy, Interpolation interpolation,
                  std::span<const std::uint8_t> fill, Random& random) {
  for (int layer = 0; layer < policy.layers; ++layer) {
    const auto operation = static_cast<AugmentOperation>(random.below(kAugmentOperations));
    if (random.uniform() >= policy.probability) continue;
    const double magnitude = draw_magnitude(policy, random);
    const bool opposite = random.uniform() < 0.5;
    apply_operation(image, operation, operation_argument(operation, magnitude, policy.increasing, opposite),
                    interpolation, fill);
  }
}

}  // namespace vretnet::vision
