#include "vision/image/transforms.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "core/base/ensure.h"
#include "vision/image/channels.h"

namespace vretnet::vision {
namespace {

// Python's round(): halves to even.
int round_half_even(double value) {
  return int(std::nearbyint(value));
}

}  // namespace

Size shorter_side_size(const Size& size, int side) {
  const bool portrait = size.width <= size.height;
  const int shorter = portrait ? size.width : size.height, longer = portrait ? size.height : size.width;
  const int other = std::max(side, int(std::int64_t(side) * longer / shorter));
  return portrait ? Size{side, other} : Size{other, side};
}

Size covering_size(const Size& size, const Size& target) {
  if (target.width == target.height) return shorter_side_size(size, target.width);
  const double ratio = std::min(double(size.width) / target.width, double(size.height) / target.height);
  return {std::max(target.width, round_half_even(size.width / ratio)),
          std::max(target.height, round_half_even(size.height / ratio))};
}

Rectangle center_rectangle(const Size& size, const Size& crop) {
  return {round_half_even((size.width - crop.width) / 2.0),
          round_half_even((size.height - crop.height) / 2.0), crop.width, crop.height};
}

Image crop(const ImageView& source, const Rectangle& area) {
  Image out = make_image(area.width, area.height, source.channels);
  const int left = std::max(area.left, 0), right = std::min(area.left + area.width, source.width);
  if (left >= right) return out;
  for (int y = 0; y < area.height; ++y) {
    const int from = area.top + y;
    if (from < 0 || from >= source.height) continue;
    std::memcpy(out.row(y) + std::size_t(left - area.left) * source.channels,
                source.row(from) + std::size_t(left) * source.channels,
                std::size_t(right - left) * source.channels);
  }
  return out;
}

std::vector<std::uint8_t> mean_colour(const Preprocessing& preprocessing) {
  std::vector<std::uint8_t> colour;
  for (const float mean : preprocessing.mean) {
    colour.push_back(std::uint8_t(std::clamp(std::nearbyint(255.0 * mean), 0.0, 255.0)));
  }
  return colour;
}

void flip_horizontally(Image& image) {
  const int channels = image.channels;
  for (int y = 0; y < image.height; ++y) {
    std::uint8_t* left = image.row(y);
    std::uint8_t* right = left + std::ptrdiff_t(image.width - 1) * channels;
    for (; left < right; left += channels, right -= channels) std::swap_ranges(left, left + channels, right);
  }
}

Image to_channels(Image image, int channels) {
  if (image.channels == channels) return image;
  Image out = make_image(image.width, image.height, channels);
  for (int y = 0; y < image.height; ++y) {
    convert_row(image.row(y), image.channels, out.row(y), channels, image.width);
  }
  return out;
}

void normalize(const ImageView& image, const std::vector<float>& mean, const std::vector<float>& deviation,
               float* out) {
  const int channels = image.channels;
  ensure(int(mean.size()) == channels && int(deviation.size()) == channels,
         "{} channels, {} means, {} deviations", channels, mean.size(), deviation.size());
  // 256 values a channel: looked up rather than computed for every pixel.
  std::vector<std::array<float, 256>> table(channels);
  for (int c = 0; c < channels; ++c) {
    for (int value = 0; value < 256; ++value) table[c][value] = (value / 255.0f - mean[c]) / deviation[c];
  }
  for (int y = 0; y < image.height; ++y) {
    const std::uint8_t* in = image.row(y);
    for (int x = 0; x < image.width; ++x) {
      for (int c = 0; c < channels; ++c) *out++ = table[c][*in++];
    }
  }
}

Image preprocess_pixels(const Image& image, const Preprocessing& preprocessing) {
  const Size target{preprocessing.width, preprocessing.height};
  const auto enlarged = [&](int size) { return int(std::floor(size / preprocessing.crop_fraction)); };
  ensure(preprocessing.crop_fraction > 0 && preprocessing.crop_fraction <= 1, "crop fraction {}",
         preprocessing.crop_fraction);
  const Size size =
      covering_size({image.width, image.height}, {enlarged(target.width), enlarged(target.height)});
  const Rectangle window = center_rectangle(size, target);
  return to_channels(resize_window(image, size.width, size.height, window, preprocessing.interpolation),
                     preprocessing.channels);
}

void preprocess(const Image& image, const Preprocessing& preprocessing, float* out) {
  normalize(preprocess_pixels(image, preprocessing), preprocessing.mean, preprocessing.deviation, out);
}

}  // namespace vretnet::vision
