#include "vision/image/affine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numbers>

#include "core/base/ensure.h"

namespace vretnet::vision {
namespace {

// Python's round(value, 15), which Pillow applies to sines and cosines so that 90° is exact.
double round_to_15_digits(double value) {
  return std::strtod(fmt::format("{:.15f}", value).c_str(), nullptr);
}

// Interpolations in Pillow's order of operations: the result is cut off, not rounded, so that the last bit of
// a sum may decide a grey level.
struct Linear {
  static constexpr int kTaps = 2, kFirst = 0;
  template <class Value>
  static double between(const Value (&v)[kTaps], double part) {
    return v[0] + (v[1] - v[0]) * part;
  }
};

struct Cubic {
  static constexpr int kTaps = 4, kFirst = -1;
  template <class Value>
  static double between(const Value (&v)[kTaps], double part) {
    const double p1 = v[1], p2 = -v[0] + v[2], p3 = 2 * (v[0] - v[1]) + v[2] - v[3],
                 p4 = -v[0] + v[1] - v[2] + v[3];
    return p1 + part * (p2 + part * (p3 + part * p4));
  }
};

// The pixel at (x, y), which lies inside; neighbours outside repeat the border.
template <class Kind, int channels>
void interpolate(const ImageView& source, double x, double y, std::uint8_t* out) {
  constexpr int taps = Kind::kTaps;
  x -= 0.5;
  y -= 0.5;
  const int left = x < 0 ? -1 : int(x), top = y < 0 ? -1 : int(y);  // floor: both are at least −0.5
  const double part_x = x - left, part_y = y - top;
  const std::uint8_t* rows[taps];
  int columns[taps];
  for (int t = 0; t < taps; ++t) {
    rows[t] = source.row(std::clamp(top + Kind::kFirst + t, 0, source.height - 1));
    columns[t] = channels * std::clamp(left + Kind::kFirst + t, 0, source.width - 1);
  }
  for (int c = 0; c < channels; ++c) {
    double across[taps];
    for (int r = 0; r < taps; ++r) {
      int values[taps];
      for (int t = 0; t < taps; ++t) values[t] = rows[r][columns[t] + c];
      across[r] = Kind::between(values, part_x);
    }
    const double value = Kind::between(across, part_y);
    out[c] = value <= 0 ? 0 : value >= 255 ? 255 : std::uint8_t(value);
  }
}

template <class Kind, int channels>
Image affine_with(const ImageView& source, const AffineMap& map, std::span<const std::uint8_t> fill) {
  Image out = make_image(source.width, source.height, channels);
  for (int row = 0; row < out.height; ++row) {
    std::uint8_t* pixel = out.row(row);
    for (int column = 0; column < out.width; ++column, pixel += channels) {
      const double x = column + 0.5, y = row + 0.5;
      const double from_x = map.xx * x + map.xy * y + map.x0, from_y = map.yx * x + map.yy * y + map.y0;
      if (from_x >= 0 && from_x < source.width && from_y >= 0 && from_y < source.height) {
        interpolate<Kind, channels>(source, from_x, from_y, pixel);
      } else {
        std::copy_n(fill.begin(), channels, pixel);
      }
    }
  }
  return out;
}

}  // namespace

AffineMap rotation(const Size& size, double degrees) {
  // As Pillow: degrees 0 … 360, then the inverse turn, around the centre.
  degrees = std::fmod(degrees, 360.0);
  if (degrees < 0) degrees += 360;
  const double angle = -(degrees * (std::numbers::pi / 180));
  const double cosine = round_to_15_digits(std::cos(angle)), sine = round_to_15_digits(std::sin(angle));
  AffineMap map{cosine, sine, 0, round_to_15_digits(-std::sin(angle)), cosine, 0};
  const double x = size.width / 2.0, y = size.height / 2.0;
  map.x0 = map.xx * -x + map.xy * -y + x;
  map.y0 = map.yx * -x + map.yy * -y + y;
  return map;
}

Image affine_transform(const ImageView& source, const AffineMap& map, Interpolation interpolation,
                       std::span<const std::uint8_t> fill) {
  ensure(source.channels == 1 || source.channels == 3, "{} channels", source.channels);
  ensure(fill.size() == std::size_t(source.channels), "{} fill values for {} channels", fill.size(),
         source.channels);
  const bool cubic = interpolation == Interpolation::Bicubic;
  if (source.channels == 1) {
    return cubic ? affine_with<Cubic, 1>(source, map, fill) : affine_with<Linear, 1>(source, map, fill);
  }
  return cubic ? affine_with<Cubic, 3>(source, map, fill) : affine_with<Linear, 3>(source, map, fill);
}

}  // namespace vretnet::vision
