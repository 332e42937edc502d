#include "vision/image/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/base/ensure.h"
#include "vision/image/filter.h"

// Compiled once for AVX-512, once for AVX2 and once for every processor, chosen when the program starts.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define VRETNET_MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VRETNET_MULTIVERSION
#endif

namespace vretnet::vision {
namespace {

// Weights are whole multiples of 2⁻²²: 8-bit values times them, summed, fit 32 bits with a sign.
constexpr int kFractionBits = 22;
constexpr int kHalf = 1 << (kFractionBits - 1);

// Output i is the sum over t < count[i] of weights[i · taps + t] · input[origin + first[i] + t].
struct Weights {
  int origin = 0;  // the first input that is used at all,
  int extent = 0;  // and how many from there on
  int taps = 0;
  std::vector<int> first;
  std::vector<int> count;
  std::vector<std::int32_t> weights;
};

// For outputs begin … begin + count − 1 of `out_size`, which the interval in0 … in1 of `in_size` inputs
// fills.
Weights make_weights(int in_size, float in0, float in1, int out_size, int begin, int count,
                     Interpolation interpolation) {
  const double scale = double(in1 - in0) / out_size;
  Weights result;
  result.taps = int(std::ceil(filter_support(interpolation, scale))) * 2 + 1;
  result.first.resize(count);
  result.count.resize(count);
  result.weights.resize(std::size_t(count) * result.taps);
  FilterTaps exact;
  for (int i = 0; i < count; ++i) {
    make_filter_taps(interpolation, in_size, in0, scale, begin + i, exact);
    std::int32_t* weights = result.weights.data() + std::size_t(i) * result.taps;
    for (std::size_t t = 0; t < exact.weights.size(); ++t) {
      const double weight = exact.weights[t] * (1 << kFractionBits);
      weights[t] = std::int32_t(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    result.first[i] = exact.first;
    result.count[i] = int(exact.weights.size());
  }
  result.origin = result.first.front();
  result.extent = result.first.back() + result.count.back() - result.origin;
  for (int& first : result.first) first -= result.origin;
  return result;
}

inline std::uint8_t round_and_clip(std::int32_t sum) {
  return std::uint8_t(std::clamp(sum >> kFractionBits, 0, 255));
}

// Rows that a pass along the rows treats at once, one a lane.
constexpr int kLanes = 16;

// lanes[i][lane] = rows[lane][i], as a row of the picture after the other; missing rows repeat the last one.
VRETNET_MULTIVERSION void interleave_rows(const std::uint8_t* rows, std::size_t stride, int count, int bytes,
                                          std::uint8_t* lanes) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::uint8_t* row = rows + std::min(lane, count - 1) * stride;
    for (int i = 0; i < bytes; ++i) lanes[i * kLanes + lane] = row[i];
  }
}

// out[i · channels + c][lane] for output pixels i, from lanes[x · channels + c][lane].
VRETNET_MULTIVERSION void filter_lanes(const std::uint8_t* lanes, const Weights& weights, int channels,
                                       std::uint8_t* out) {
  const int outputs = int(weights.first.size());
  for (int i = 0; i < outputs; ++i) {
    const std::int32_t* weight = weights.weights.data() + std::size_t(i) * weights.taps;
    for (int c = 0; c < channels; ++c, out += kLanes) {
      const std::uint8_t* in = lanes + (std::size_t(weights.first[i]) * channels + c) * kLanes;
      std::int32_t sums[kLanes];
      for (int lane = 0; lane < kLanes; ++lane) sums[lane] = kHalf;
      for (int t = 0; t < weights.count[i]; ++t, in += channels * kLanes) {
        for (int lane = 0; lane < kLanes; ++lane) sums[lane] += in[lane] * weight[t];
      }
      for (int lane = 0; lane < kLanes; ++lane) out[lane] = round_and_clip(sums[lane]);
    }
  }
}

// Along the rows: every row of `source` to weights.first.size() pixels.
Image filter_rows(const ImageView& source, const Weights& weights) {
  Image out = make_image(int(weights.first.size()), source.height, source.channels);
  const int in_bytes = source.width * source.channels, out_bytes = int(out.row_bytes());
  std::vector<std::uint8_t> in_lanes(std::size_t(in_bytes) * kLanes),
      out_lanes(std::size_t(out_bytes) * kLanes);
  for (int y = 0; y < source.height; y += kLanes) {
    const int rows = std::min(kLanes, source.height - y);
    interleave_rows(source.row(y), source.stride, rows, in_bytes, in_lanes.data());
    filter_lanes(in_lanes.data(), weights, source.channels, out_lanes.data());
    for (int lane = 0; lane < rows; ++lane) {
      std::uint8_t* row = out.row(y + lane);
      for (int i = 0; i < out_bytes; ++i) row[i] = out_lanes[i * kLanes + lane];
    }
  }
  return out;
}

// One row of the result: out[i] from rows[t · stride + i].
VRETNET_MULTIVERSION void filter_column_bytes(const std::uint8_t* rows, std::size_t stride,
                                              const std::int32_t* weights, int count, int bytes,
                                              std::uint8_t* out) {
  constexpr int kBlock = 64;
  int begin = 0;
  for (; begin + kBlock <= bytes; begin += kBlock) {
    std::int32_t sums[kBlock];
    for (int i = 0; i < kBlock; ++i) sums[i] = kHalf;
    for (int t = 0; t < count; ++t) {
      const std::uint8_t* row = rows + t * stride + begin;
      for (int i = 0; i < kBlock; ++i) sums[i] += row[i] * weights[t];
    }
    for (int i = 0; i < kBlock; ++i) out[begin + i] = round_and_clip(sums[i]);
  }
  for (int i = begin; i < bytes; ++i) {
    std::int32_t sum = kHalf;
    for (int t = 0; t < count; ++t) sum += rows[t * stride + i] * weights[t];
    out[i] = round_and_clip(sum);
  }
}

// Down the columns: weights.first.size() rows.
Image filter_columns(const ImageView& source, const Weights& weights) {
  Image out = make_image(source.width, int(weights.first.size()), source.channels);
  for (int y = 0; y < out.height; ++y) {
    filter_column_bytes(source.row(weights.first[y]), source.stride,
                        weights.weights.data() + std::size_t(y) * weights.taps, weights.count[y],
                        int(out.row_bytes()), out.row(y));
  }
  return out;
}

Image copy(const ImageView& source) {
  Image out = make_image(source.width, source.height, source.channels);
  for (int y = 0; y < out.height; ++y) std::memcpy(out.row(y), source.row(y), out.row_bytes());
  return out;
}

Image resample(const ImageView& source, const Box& box, const Size& size, const Rectangle& window,
               Interpolation interpolation) {
  ensure(size.width > 0 && size.height > 0, "resize to {} x {}", size.width, size.height);
  ensure(box.left >= 0 && box.top >= 0 && box.right <= source.width && box.bottom <= source.height &&
             box.left < box.right && box.top < box.bottom,
         "box {}, {}, {}, {} of {} x {}", box.left, box.top, box.right, box.bottom, source.width,
         source.height);
  ensure(window.left >= 0 && window.top >= 0 && window.width > 0 && window.height > 0 &&
             window.left + window.width <= size.width && window.top + window.height <= size.height,
         "window {}, {}, {} x {} of {} x {}", window.left, window.top, window.width, window.height,
         size.width, size.height);
  const bool same_width = size.width == source.width && box.left == 0 && box.right == float(source.width);
  const bool same_height = size.height == source.height && box.top == 0 && box.bottom == float(source.height);

  Rectangle needed = window;
  Weights across, down;
  if (!same_width) {
    across =
        make_weights(source.width, box.left, box.right, size.width, window.left, window.width, interpolation);
    needed.left = across.origin;
    needed.width = across.extent;
  }
  if (!same_height) {
    down = make_weights(source.height, box.top, box.bottom, size.height, window.top, window.height,
                        interpolation);
    needed.top = down.origin;
    needed.height = down.extent;
  }
  const ImageView part = source.part(needed);
  if (same_width) return same_height ? copy(part) : filter_columns(part, down);
  if (same_height) return filter_rows(part, across);
  // The order matters, because each pass rounds and clips to 8 bits. This is Pillow 13's; before, the rows
  // were always filtered first.
  const int rows_lost = source.height - size.height, columns_lost = source.width - size.width;
  const bool columns_first = rows_lost > 0 && rows_lost > 2 * columns_lost;
  return columns_first ? filter_rows(filter_columns(part, down), across)
                       : filter_columns(filter_rows(part, across), down);
}

Box whole(const ImageView& source) {
  return {0, 0, float(source.width), float(source.height)};
}

}  // namespace

Image resize(const ImageView& source, int width, int height, Interpolation interpolation) {
  return resample(source, whole(source), {width, height}, {0, 0, width, height}, interpolation);
}

Image resize(const ImageView& source, const Box& box, int width, int height, Interpolation interpolation) {
  return resample(source, box, {width, height}, {0, 0, width, height}, interpolation);
}

Image resize_window(const ImageView& source, int width, int height, const Rectangle& window,
                    Interpolation interpolation) {
  return resample(source, whole(source), {width, height}, window, interpolation);
}

}  // namespace vretnet::vision
