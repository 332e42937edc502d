// From an upright picture to a model's input, as torchvision and timm do it: the same sizes, the same crop
// offsets, the same roundings.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vision/image/image.h"
#include "vision/image/resize.h"

namespace vretnet::vision {

// How pictures become the input of one model; stored with the model.
struct Preprocessing {
  int height = 224;
  int width = 224;
  double crop_fraction = 0.875;  // timm's crop_pct: part of the resized picture that the centre crop keeps
  Interpolation interpolation = Interpolation::Bicubic;
  std::vector<float> mean = {0.485f, 0.456f, 0.406f};  // one a channel, of values 0 … 1
  std::vector<float> deviation = {0.229f, 0.224f, 0.225f};
  int channels = 3;  // 1 or 3

  std::size_t values() const { return std::size_t(height) * width * channels; }
};

// The mean as an 8-bit colour, one number a channel, rounded as timm does: what a model knows least about.
std::vector<std::uint8_t> mean_colour(const Preprocessing& preprocessing);

// torchvision's Resize(side): the shorter side becomes `side`, the longer int(side · longer / shorter).
Size shorter_side_size(const Size& size, int side);

// The smallest size of the same proportions that covers `target` (timm's ResizeKeepRatio); equal to
// shorter_side_size where the target is square.
Size covering_size(const Size& size, const Size& target);

// torchvision's CenterCrop: offsets are round((size − crop) / 2), halves to even. Negative where the crop is
// larger than the picture.
Rectangle center_rectangle(const Size& size, const Size& crop);

// The pixels of `area`, which may reach outside of the picture: there they are 0 (torchvision's pad + crop).
Image crop(const ImageView& source, const Rectangle& area);

void flip_horizontally(Image& image);

// Grey to RGB by repeating, RGB to grey by Pillow's weights (ITU-R 601-2: 299, 587, 114).
Image to_channels(Image image, int channels);

// out[(y·width + x)·channels + c] = (pixel / 255 − mean[c]) / deviation[c], in f32 and in this order, as
// ToTensor and Normalize. `out` holds as many floats as the image has values.
void normalize(const ImageView& image, const std::vector<float>& mean, const std::vector<float>& deviation,
               float* out);

// Evaluation and prediction: resize to cover floor(size / crop_fraction), crop the centre, normalise. `out`
// holds preprocessing.values() floats, [height, width, channels].
void preprocess(const Image& image, const Preprocessing& preprocessing, float* out);

// The 8-bit picture that `preprocess` normalises.
Image preprocess_pixels(const Image& image, const Preprocessing& preprocessing);

}  // namespace vretnet::vision
