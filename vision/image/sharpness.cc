#include "vision/image/sharpness.h"

#include <algorithm>
#include <utility>

#include "vision/image/blend.h"

namespace vretnet::vision {
namespace {

// Pillow's ImageFilter.SMOOTH, in f32 and in its order of sums, the row below first.
inline std::uint8_t smooth(const std::uint8_t* above, const std::uint8_t* here, const std::uint8_t* below,
                           int step) {
  constexpr float kSide = 1.0f / 13, kCentre = 5.0f / 13;
  const auto row = [step](const std::uint8_t* at, float centre) {
    return float(at[-step]) * kSide + float(at[0]) * centre + float(at[step]) * kSide;
  };
  float sum = 0.5f;
  sum += row(below, kSide);
  sum += row(here, kCentre);
  sum += row(above, kSide);
  return std::uint8_t(std::min(sum, 255.0f));
}

}  // namespace

void adjust_sharpness(Image& image, float factor) {
  if (image.width < 3 || image.height < 3) return;
  const int channels = image.channels;
  Image out = image;
  for (int y = 1; y + 1 < image.height; ++y) {
    const std::uint8_t *above = image.row(y - 1), *here = image.row(y), *below = image.row(y + 1);
    std::uint8_t* to = out.row(y);
    for (int i = channels; i < (image.width - 1) * channels; ++i) {
      to[i] = blend(smooth(above + i, here + i, below + i, channels), here[i], factor);
    }
  }
  image = std::move(out);
}

}  // namespace vretnet::vision
