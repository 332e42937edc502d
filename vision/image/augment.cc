#include "vision/image/augment.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "vision/image/color.h"

namespace vretnet::vision {
namespace {

int draw_offset(int largest, Random& random) {
  return int(random.below(std::uint64_t(std::max(largest, 0)) + 1));
}

void jitter(Image& image, const Augmentation& augmentation, Random& random) {
  const auto factor = [&](double strength) {
    return float(random.uniform(std::max(0.0, 1 - strength), 1 + strength));
  };
  std::array<int, 4> order = {0, 1, 2, 3};
  for (int i = 3; i > 0; --i) std::swap(order[i], order[random.below(std::uint64_t(i) + 1)]);
  for (const int change : order) {
    if (change == 0 && augmentation.brightness > 0) adjust_brightness(image, factor(augmentation.brightness));
    if (change == 1 && augmentation.contrast > 0) adjust_contrast(image, factor(augmentation.contrast));
    if (change == 2 && augmentation.saturation > 0) adjust_saturation(image, factor(augmentation.saturation));
    if (change == 3 && augmentation.hue > 0) {
      adjust_hue(image, random.uniform(-augmentation.hue, augmentation.hue));
    }
  }
}

// `area` of the picture at another size.
Image resize_area(LazyImage& image, const Rectangle& area, const Size& size, const Augmentation& augmentation,
                  Interpolation interpolation) {
  const LazyImage::Part part =
      augmentation.reduced_decoding ? image.read_reduced(area, size) : image.read(area);
  return resize(part.pixels, part.area, size.width, size.height, interpolation);
}

// The picture resized to cover the target, with black around it, cropped at a drawn place.
Image pad_and_crop(LazyImage& image, const Augmentation& augmentation, const Preprocessing& preprocessing,
                   Random& random) {
  const int pad = augmentation.pad_pixels;
  const Size target{preprocessing.width, preprocessing.height};
  const Size size = covering_size(image.size(), target);
  const int left = draw_offset(size.width + 2 * pad - target.width, random) - pad;
  const int top = draw_offset(size.height + 2 * pad - target.height, random) - pad;
  const Rectangle whole{0, 0, image.size().width, image.size().height};
  const Rectangle window{left, top, target.width, target.height};
  if (size == image.size()) return crop(image.read(whole).pixels, window);
  return crop(resize_area(image, whole, size, augmentation, preprocessing.interpolation), window);
}

}  // namespace

Rectangle draw_resized_crop(const Size& size, const Augmentation& augmentation, Random& random) {
  const double area = double(size.width) * size.height;
  const double log_low = std::log(augmentation.ratio_low), log_high = std::log(augmentation.ratio_high);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target_area = area * random.uniform(augmentation.scale_low, augmentation.scale_high);
    const double ratio = std::exp(random.uniform(log_low, log_high));
    const int width = int(std::nearbyint(std::sqrt(target_area * ratio)));
    const int height = int(std::nearbyint(std::sqrt(target_area / ratio)));
    if (width < 1 || height < 1 || width > size.width || height > size.height) continue;
    const int top = draw_offset(size.height - height, random);
    const int left = draw_offset(size.width - width, random);
    return {left, top, width, height};
  }
  const double ratio = double(size.width) / size.height;
  int width = size.width, height = size.height;
  if (ratio < augmentation.ratio_low) {
    height = std::clamp(int(std::nearbyint(width / augmentation.ratio_low)), 1, size.height);
  } else if (ratio > augmentation.ratio_high) {
    width = std::clamp(int(std::nearbyint(height * augmentation.ratio_high)), 1, size.width);
  }
  return {(size.width - width) / 2, (size.height - height) / 2, width, height};
}

Image augment_pixels(LazyImage& image, const Augmentation& augmentation, const Preprocessing& preprocessing,
                     Random& random) {
  Image result;
  if (augmentation.random_resized_crop) {
    const Rectangle area = draw_resized_crop(image.size(), augmentation, random);
    result = resize_area(image, area, {preprocessing.width, preprocessing.height}, augmentation,
                         preprocessing.interpolation);
  } else {
    result = pad_and_crop(image, augmentation, preprocessing, random);
  }
  result = to_channels(std::move(result), preprocessing.channels);
  if (random.uniform() < augmentation.flip_probability) flip_horizontally(result);
  if (augmentation.rand_augment) {
    rand_augment(result, *augmentation.rand_augment, preprocessing.interpolation, mean_colour(preprocessing),
                 random);
  }
  jitter(result, augmentation, random);
  return result;
}

void augment(LazyImage& image, const Augmentation& augmentation, const Preprocessing& preprocessing,
             Random& random, float* out) {
  normalize(augment_pixels(image, augmentation, preprocessing, random), preprocessing.mean,
            preprocessing.deviation, out);
  if (augmentation.erasing.probability > 0) {
    erase(augmentation.erasing, preprocessing.height, preprocessing.width, preprocessing.channels, random,
          out);
  }
}

}  // namespace vretnet::vision
