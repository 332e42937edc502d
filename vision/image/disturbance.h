// Pictures made worse on purpose, to measure what a model loses: the four most telling corruptions of
// ImageNet-C (Hendrycks & Dietterich 2019, whose strengths they have) and patches hidden from the model.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "core/base/random.h"
#include "vision/image/image.h"

namespace vretnet::vision {

enum class CorruptionKind : std::uint8_t { noise, blur, brightness, jpeg };
const char* name_of(CorruptionKind kind);
std::vector<std::string> corruption_names();

constexpr int kCorruptionStrengths = 5;

// Gaussian noise, Gaussian blur, HSV's value raised, JPEG compression. Strengths 1 … 5 are ImageNet-C's, for
// pictures of up to 64 pixels CIFAR-10-C's.
struct Corruption {
  CorruptionKind kind = CorruptionKind::noise;
  int strength = 1;
};

// Some of the patches get one colour: drawn ones, or one block of them.
struct Occlusion {
  double share =
      0.5;  // of the patches, 0 … 1, rounded to whole ones (a block: to whole rows and columns of them)
  bool block = false;
  int patch_size = 16;               // pixels
  std::vector<std::uint8_t> fill{};  // one a channel; the training mean is what a model knows least about
};

using Disturbance = std::variant<Corruption, Occlusion>;
std::string name_of(const Disturbance& disturbance);  // "blur 3", "patches of 50%", "a block of 50%"

// `image` is a model's input before it is normalised. All randomness is the caller's.
void disturb(Image& image, const Disturbance& disturbance, Random& random);

}  // namespace vretnet::vision
