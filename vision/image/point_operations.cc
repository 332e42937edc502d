#include "vision/image/point_operations.h"

#include <algorithm>
#include <array>

namespace vretnet::vision {
namespace {

using Table = std::array<std::uint8_t, 256>;
using Histogram = std::array<std::int64_t, 256>;

std::uint8_t clip(std::int64_t value) {
  return std::uint8_t(std::clamp<std::int64_t>(value, 0, 255));
}

template <class Value>
Table table_of(const Value& value) {
  Table table;
  for (int i = 0; i < 256; ++i) table[std::size_t(i)] = value(i);
  return table;
}

// One table for all channels.
void map_all(Image& image, const Table& table) {
  for (std::uint8_t& value : image.pixels) value = table[value];
}

// A table for each channel, made from its histogram.
template <class MakeTable>
void map_channels(Image& image, const MakeTable& make_table) {
  for (int c = 0; c < image.channels; ++c) {
    Histogram histogram{};
    for (std::size_t i = std::size_t(c); i < image.pixels.size(); i += std::size_t(image.channels)) {
      ++histogram[image.pixels[i]];
    }
    const Table table = make_table(histogram);
    for (std::size_t i = std::size_t(c); i < image.pixels.size(); i += std::size_t(image.channels)) {
      image.pixels[i] = table[image.pixels[i]];
    }
  }
}

Table identity() {
  return table_of([](int value) { return std::uint8_t(value); });
}

Table stretched(const Histogram& histogram) {
  int low = 0, high = 255;
  while (low < 255 && histogram[std::size_t(low)] == 0) ++low;
  while (high > 0 && histogram[std::size_t(high)] == 0) --high;
  if (high <= low) return identity();
  const double scale = 255.0 / (high - low), offset = -low * scale;
  return table_of([&](int value) { return clip(std::int64_t(value * scale + offset)); });
}

Table equalized(const Histogram& histogram) {
  std::int64_t all = 0, last = 0;
  int used = 0;
  for (const std::int64_t count : histogram) {
    all += count;
    if (count == 0) continue;
    last = count;
    ++used;
  }
  const std::int64_t step = (all - last) / 255;
  if (used <= 1 || step == 0) return identity();
  std::int64_t below = step / 2;
  return table_of([&](int value) {
    const std::uint8_t level = clip(below / step);
    below += histogram[std::size_t(value)];
    return level;
  });
}

}  // namespace

void auto_contrast(Image& image) {
  map_channels(image, stretched);
}

void equalize(Image& image) {
  map_channels(image, equalized);
}

void invert(Image& image) {
  map_all(image, table_of([](int value) { return std::uint8_t(255 - value); }));
}

void posterize(Image& image, int bits) {
  const int mask = ~((1 << (8 - bits)) - 1);
  map_all(image, table_of([&](int value) { return std::uint8_t(value & mask); }));
}

void solarize(Image& image, int threshold) {
  map_all(image, table_of([&](int value) { return std::uint8_t(value < threshold ? value : 255 - value); }));
}

void solarize_add(Image& image, int addend) {
  map_all(image,
          table_of([&](int value) { return value < 128 ? clip(value + addend) : std::uint8_t(value); }));
}

}  // namespace vretnet::vision
