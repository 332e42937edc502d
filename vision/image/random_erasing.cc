#include "vision/image/random_erasing.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "vision/image/image.h"

namespace vretnet::vision {
namespace {

// Empty where all tries failed.
Rectangle draw_rectangle(const RandomErasing& erasing, int height, int width, Random& random) {
  const double log_ratio = -std::log(erasing.ratio_low);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = random.uniform(erasing.area_low, erasing.area_high) * height * width;
    const double ratio = std::exp(random.uniform(-log_ratio, log_ratio));
    const int high = int(std::nearbyint(std::sqrt(area * ratio)));
    const int wide = int(std::nearbyint(std::sqrt(area / ratio)));
    if (high >= height || wide >= width) continue;
    const int top = int(random.below(std::uint64_t(height - high) + 1));
    const int left = int(random.below(std::uint64_t(width - wide) + 1));
    return {left, top, wide, high};
  }
  return {};
}

}  // namespace

void erase(const RandomErasing& erasing, int height, int width, int channels, Random& random, float* values) {
  if (random.uniform() >= erasing.probability) return;
  const Rectangle area = draw_rectangle(erasing, height, width, random);
  std::vector<float> colour(std::size_t(channels), 0.0f);
  if (erasing.mode == EraseMode::Colour) {
    for (float& value : colour) value = float(random.normal());
  }
  for (int y = area.top; y < area.top + area.height; ++y) {
    float* value = values + (std::ptrdiff_t(y) * width + area.left) * channels;
    for (int x = 0; x < area.width; ++x) {
      for (int c = 0; c < channels; ++c) {
        *value++ = erasing.mode == EraseMode::Pixel ? float(random.normal()) : colour[std::size_t(c)];
      }
    }
  }
}

}  // namespace vretnet::vision
