// Random changes of training pictures. All randomness comes from the caller's Random, so a picture's
// augmentation depends on nothing but (seed, epoch, index).
#pragma once

#include <optional>

#include "core/base/random.h"
#include "vision/image/image.h"
#include "vision/image/lazy_image.h"
#include "vision/image/rand_augment.h"
#include "vision/image/random_erasing.h"
#include "vision/image/transforms.h"

namespace vretnet::vision {

struct Augmentation {
  // RandomResizedCrop: a part of the picture's area and a ratio width / height, both drawn. Off: the picture
  // is resized to cover the target and, after padding, cropped at a drawn place.
  bool random_resized_crop = false;
  double scale_low = 0.08, scale_high = 1.0;
  double ratio_low = 3.0 / 4.0, ratio_high = 4.0 / 3.0;
  int pad_pixels = 0;  // of black on every side before the crop; 4 is usual for 28 … 32 pixels

  double flip_probability = 0.5;  // left and right exchanged

  // torchvision's ColorJitter: factors from [max(0, 1 − s), 1 + s], hue from [−s, s] turns (s ≤ 0.5); 0 is
  // off. Applied in a drawn order. Saturation and hue leave grey pictures as they are.
  double brightness = 0, contrast = 0, saturation = 0, hue = 0;

  // After the flip and before the jitter, with the model's interpolation; what it uncovers becomes the mean
  // colour.
  std::optional<RandAugment> rand_augment;

  RandomErasing erasing;  // of the normalised picture, last of all
  // Large JPEGs are decoded at 1/2 or 1/4 of their size where that leaves enough pixels
  // (LazyImage::read_reduced); of pictures that are decoded already nothing changes.
  bool reduced_decoding = false;
};

// torchvision's RandomResizedCrop.get_params: ten tries, then the largest centred crop of an allowed ratio.
Rectangle draw_resized_crop(const Size& size, const Augmentation& augmentation, Random& random);

// Resize, crop, flip, RandAugment, jitter: the 8-bit picture, preprocessing.height × preprocessing.width.
// Only what the crop needs is decoded.
Image augment_pixels(LazyImage& image, const Augmentation& augmentation, const Preprocessing& preprocessing,
                     Random& random);

// The same, normalised, then erased in part: `out` holds preprocessing.values() floats, [height, width,
// channels].
void augment(LazyImage& image, const Augmentation& augmentation, const Preprocessing& preprocessing,
             Random& random, float* out);

}  // namespace vretnet::vision
