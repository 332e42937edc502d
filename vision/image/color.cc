#include "vision/image/color.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "vision/image/blend.h"
#include "vision/image/channels.h"

namespace vretnet::vision {
namespace {

// Every value blended with the same base.
void blend_with(Image& image, int base, float factor) {
  std::array<std::uint8_t, 256> table;
  for (int value = 0; value < 256; ++value) table[value] = blend(base, value, factor);
  for (std::uint8_t& value : image.pixels) value = table[value];
}

int mean_luma(const Image& image) {
  const std::size_t count = std::size_t(image.width) * image.height;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    sum += image.channels == 1 ? image.pixels[i] : luma(image.pixels.data() + 3 * i);
  }
  return int(double(sum) / double(count) + 0.5);
}

std::uint8_t clip(double value) {
  return std::uint8_t(std::clamp(int(value), 0, 255));
}

struct Hsv {
  std::uint8_t hue, saturation, value;
};

Hsv to_hsv(const std::uint8_t* rgb) {
  const int red = rgb[0], green = rgb[1], blue = rgb[2];
  const int high = std::max({red, green, blue}), low = std::min({red, green, blue});
  if (high == low) return {0, 0, std::uint8_t(high)};
  const float range = float(high - low);
  const float from_red = float(high - red) / range, from_green = float(high - green) / range,
              from_blue = float(high - blue) / range;
  float hue;
  if (red == high) {
    hue = from_blue - from_green;
  } else if (green == high) {
    hue = float(2.0 + from_red - from_blue);
  } else {
    hue = float(4.0 + from_green - from_red);
  }
  const double turn = hue / 6.0 + 1.0;  // 5/6 … 11/6
  hue = float(turn >= 1 ? turn - 1 : turn);
  return {clip(hue * 255.0), clip(range / float(high) * 255.0), std::uint8_t(high)};
}

void to_rgb(const Hsv& hsv, std::uint8_t* rgb) {
  if (hsv.saturation == 0) {
    rgb[0] = rgb[1] = rgb[2] = hsv.value;
    return;
  }
  const float sixth = float(hsv.hue * 6.0 / 255.0);
  const int sector = int(sixth);
  const float fraction = sixth - float(sector), saturation = float(hsv.saturation / 255.0);
  const auto rounded = [&](double part) { return clip(hsv.value * part + 0.5); };
  const std::uint8_t full = hsv.value;
  const std::uint8_t low = rounded(1.0 - saturation);
  const std::uint8_t between =  // falling in odd sectors, rising in even ones
      rounded(sector % 2 ? 1.0 - double(saturation * fraction) : 1.0 - saturation * (1.0 - fraction));
  const auto set = [&](std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
    rgb[0] = red;
    rgb[1] = green;
    rgb[2] = blue;
  };
  switch (sector % 6) {
    case 0:
      return set(full, between, low);
    case 1:
      return set(between, full, low);
    case 2:
      return set(low, full, between);
    case 3:
      return set(low, between, full);
    case 4:
      return set(between, low, full);
    default:
      return set(full, low, between);
  }
}

}  // namespace

void adjust_brightness(Image& image, float factor) {
  blend_with(image, 0, factor);
}

void adjust_contrast(Image& image, float factor) {
  blend_with(image, mean_luma(image), factor);
}

void adjust_saturation(Image& image, float factor) {
  if (image.channels != 3) return;
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    std::uint8_t* rgb = image.pixels.data() + i;
    const int grey = luma(rgb);
    for (int c = 0; c < 3; ++c) rgb[c] = blend(grey, rgb[c], factor);
  }
}

void adjust_hue(Image& image, double turns) {
  if (image.channels != 3) return;
  const int shift = int(turns * 255);
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    std::uint8_t* rgb = image.pixels.data() + i;
    Hsv hsv = to_hsv(rgb);
    hsv.hue = std::uint8_t(hsv.hue + shift);
    to_rgb(hsv, rgb);
  }
}

}  // namespace vretnet::vision
