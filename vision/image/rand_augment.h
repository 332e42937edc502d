// RandAugment (Cubuk et al. 2020, arXiv 1909.13719) in timm's manner: a few operations, drawn from fifteen,
// at one magnitude.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "core/base/random.h"
#include "vision/image/image.h"
#include "vision/image/resize.h"

namespace vretnet::vision {

enum class AugmentOperation {
  AutoContrast,
  Equalize,
  Invert,
  Rotate,       // argument: degrees, counter-clockwise
  Posterize,    // bits that are kept
  Solarize,     // values from here on are inverted
  SolarizeAdd,  // added to values below 128
  Color,        // factors of adjust_saturation, …
  Contrast,
  Brightness,
  Sharpness,
  ShearX,  // source x = x + argument · y
  ShearY,
  TranslateXRel,  // part of the width
  TranslateYRel,
};
inline constexpr int kAugmentOperations = 15;

// timm's names, in this order.
extern const std::array<const char*, kAugmentOperations> kAugmentOperationNames;

struct RandAugment {
  int magnitude = 10;              // m; 10 is timm's full strength
  int layers = 2;                  // n: operations a picture, drawn with replacement
  double probability = 0.5;        // p: of each layer
  double magnitude_deviation = 0;  // mstd: of a normal distribution around m; above 100: uniform in 0 … m
  int largest_magnitude = 10;      // mmax: drawn magnitudes are cut off here
  bool increasing = false;         // inc: posterize, solarize and enhancements grow stronger with m, too
};

// timm's string, "rand-m9-n2-mstd0.5-inc1": the keys m, n, p, mstd, mmax, inc, in any order. Throws
// UsageError saying which part is wrong.
RandAugment parse_rand_augment(const std::string& text);

// What an operation is given at a magnitude 0 … 10 (or more, up to mmax): timm's LEVEL_TO_ARG. `opposite` is
// the sign that timm draws for what has two directions. 0 where there is no argument.
double operation_argument(AugmentOperation operation, double magnitude, bool increasing, bool opposite);

// `fill` is for what turning, shearing and shifting uncover, one value a channel. Colour leaves grey pictures
// as they are.
void apply_operation(Image& image, AugmentOperation operation, double argument, Interpolation interpolation,
                     std::span<const std::uint8_t> fill);

void rand_augment(Image& image, const RandAugment& policy, Interpolation interpolation,
                  std::span<const std::uint8_t> fill, Random& random);

}  // namespace vretnet::vision
