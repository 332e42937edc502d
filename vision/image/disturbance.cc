#include "vision/image/disturbance.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/base/ensure.h"
#include "vision/image/decode.h"
#include "vision/image/encode_jpeg.h"

namespace vretnet::vision {
namespace {

constexpr std::array kCorruptionNames{"noise", "blur", "brightness", "jpeg"};
constexpr int kSmallPicture = 64;  // pixels, up to which strengths are CIFAR-10-C's
using Strengths = std::array<double, kCorruptionStrengths>;

double strength_of(const Image& image, const Corruption& corruption, const Strengths& small,
                   const Strengths& large) {
  const bool is_small = std::max(image.width, image.height) <= kSmallPicture;
  return (is_small ? small : large)[static_cast<std::size_t>(corruption.strength - 1)];
}

std::uint8_t to_byte(double value) {
  return static_cast<std::uint8_t>(std::clamp(std::lround(value), 0L, 255L));
}

void add_noise(Image& image, double deviation, Random& random) {
  for (std::uint8_t& value : image.pixels) value = to_byte(value + 255 * deviation * random.normal());
}

// Along one axis of a plane of `lines` lines; beyond the edge the last pixel goes on.
void blur_lines(std::vector<double>& values, std::int64_t lines, std::int64_t line_stride,
                std::int64_t length, std::int64_t stride, const std::vector<double>& weights) {
  const auto radius = static_cast<std::int64_t>(weights.size() / 2);
  std::vector<double> line(static_cast<std::size_t>(length));
  for (std::int64_t l = 0; l < lines; ++l) {
    double* first = values.data() + l * line_stride;
    for (std::int64_t i = 0; i < length; ++i) line[static_cast<std::size_t>(i)] = first[i * stride];
    for (std::int64_t i = 0; i < length; ++i) {
      double sum = 0;
      for (std::int64_t r = -radius; r <= radius; ++r) {
        const std::int64_t from = std::clamp<std::int64_t>(i + r, 0, length - 1);
        sum += weights[static_cast<std::size_t>(r + radius)] * line[static_cast<std::size_t>(from)];
      }
      first[i * stride] = sum;
    }
  }
}

void blur(Image& image, double deviation) {
  const int radius = static_cast<int>(std::lround(4 * deviation));
  std::vector<double> weights;
  for (int r = -radius; r <= radius; ++r) weights.push_back(std::exp(-r * r / (2 * deviation * deviation)));
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= total;
  const std::int64_t width = image.width, height = image.height, channels = image.channels;
  std::vector<double> values(image.pixels.begin(), image.pixels.end());
  // Interleaved channels: a row is `channels` lines that lie side by side, and so is a column.
  for (std::int64_t y = 0; y < height; ++y) {
    std::vector<double> row(values.begin() + y * width * channels,
                            values.begin() + (y + 1) * width * channels);
    blur_lines(row, channels, 1, width, channels, weights);
    std::copy(row.begin(), row.end(), values.begin() + y * width * channels);
  }
  blur_lines(values, width * channels, 1, height, width * channels, weights);
  std::transform(values.begin(), values.end(), image.pixels.begin(), to_byte);
}

// HSV's value is the largest channel; hue and saturation stay when all channels are scaled alike.
void brighten(Image& image, double addend) {
  for (std::size_t at = 0; at < image.pixels.size(); at += image.channels) {
    std::uint8_t* pixel = image.pixels.data() + at;
    const double value = *std::max_element(pixel, pixel + image.channels);
    const double brighter = std::min(255.0, value + 255 * addend);
    for (int c = 0; c < image.channels; ++c) {
      pixel[c] = to_byte(value > 0 ? pixel[c] * brighter / value : brighter);
    }
  }
}

void compress(Image& image, int quality) {
  const std::vector<std::byte> file = encode_jpeg(image, quality);
  image = decode_image(file, "a picture compressed again", {}, image.channels);
}

void apply(Image& image, const Corruption& corruption, Random& random) {
  ensure(corruption.strength >= 1 && corruption.strength <= kCorruptionStrengths,
         "a corruption of strength {}", corruption.strength);
  const auto strength = [&](const Strengths& small, const Strengths& large) {
    return strength_of(image, corruption, small, large);
  };
  switch (corruption.kind) {
    case CorruptionKind::noise:
      return add_noise(image, strength({0.04, 0.06, 0.08, 0.09, 0.10}, {0.08, 0.12, 0.18, 0.26, 0.38}),
                       random);
    case CorruptionKind::blur:
      return blur(image, strength({0.4, 0.6, 0.7, 0.8, 1}, {1, 2, 3, 4, 6}));
    case CorruptionKind::brightness:
      return brighten(image, strength({0.05, 0.1, 0.15, 0.2, 0.3}, {0.1, 0.2, 0.3, 0.4, 0.5}));
    case CorruptionKind::jpeg:
      return compress(image, static_cast<int>(strength({80, 65, 58, 50, 40}, {25, 18, 15, 10, 7})));
  }
}

void hide_patch(Image& image, const Occlusion& occlusion, int row, int column) {
  const int size = occlusion.patch_size;
  for (int y = row * size; y < (row + 1) * size; ++y) {
    std::uint8_t* pixel = image.row(y) + std::size_t(column) * size * image.channels;
    for (int x = 0; x < size; ++x) pixel = std::copy(occlusion.fill.begin(), occlusion.fill.end(), pixel);
  }
}

void apply(Image& image, const Occlusion& occlusion, Random& random) {
  const int size = occlusion.patch_size;
  ensure(size > 0 && image.width % size == 0 && image.height % size == 0,
         "patches of {} in a picture of {} x {}", size, image.width, image.height);
  ensure(static_cast<int>(occlusion.fill.size()) == image.channels, "a colour of {} channels for {}",
         occlusion.fill.size(), image.channels);
  const int rows = image.height / size, columns = image.width / size;
  const auto hidden = static_cast<std::size_t>(std::lround(occlusion.share * rows * columns));
  if (hidden == 0) return;
  if (occlusion.block) {
    const int tall = std::clamp(static_cast<int>(std::lround(rows * std::sqrt(occlusion.share))), 1, rows);
    const int wide =
        std::clamp(static_cast<int>(std::lround(static_cast<double>(hidden) / tall)), 1, columns);
    const auto top = static_cast<int>(random.below(static_cast<std::uint64_t>(rows - tall + 1)));
    const auto left = static_cast<int>(random.below(static_cast<std::uint64_t>(columns - wide + 1)));
    for (int row = top; row < top + tall; ++row) {
      for (int column = left; column < left + wide; ++column) hide_patch(image, occlusion, row, column);
    }
    return;
  }
  std::vector<int> patches(static_cast<std::size_t>(rows) * columns);
  std::iota(patches.begin(), patches.end(), 0);
  for (std::size_t i = 0; i < hidden; ++i) {
    std::swap(patches[i], patches[i + random.below(patches.size() - i)]);
    hide_patch(image, occlusion, patches[i] / columns, patches[i] % columns);
  }
}

}  // namespace

const char* name_of(CorruptionKind kind) {
  return kCorruptionNames[static_cast<std::size_t>(kind)];
}

std::vector<std::string> corruption_names() {
  return {kCorruptionNames.begin(), kCorruptionNames.end()};
}

std::string name_of(const Disturbance& disturbance) {
  if (const auto* corruption = std::get_if<Corruption>(&disturbance)) {
    return fmt::format("{} {}", name_of(corruption->kind), corruption->strength);
  }
  const auto& occlusion = std::get<Occlusion>(disturbance);
  return fmt::format("{} of {:.0f}%", occlusion.block ? "a block" : "patches", 100 * occlusion.share);
}

void disturb(Image& image, const Disturbance& disturbance, Random& random) {
  std::visit([&](const auto& each) { apply(image, each, random); }, disturbance);
}

}  // namespace vretnet::vision
