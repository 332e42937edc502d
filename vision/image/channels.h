// Grey and RGB, a row at a time. For use inside vision/image.
#pragma once

#include <cstdint>

namespace vretnet::vision {

// ITU-R 601-2 luma in 16-bit fixed point, rounded: Pillow's convert("L").
inline std::uint8_t luma(const std::uint8_t* rgb) {
  return std::uint8_t((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

// `width` pixels of `from_channels` to `to_channels`, each 1 or 3; in and out do not overlap.
void convert_row(const std::uint8_t* in, int from_channels, std::uint8_t* out, int to_channels, int width);

}  // namespace vretnet::vision
