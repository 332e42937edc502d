// Pillow's Image.blend of single values. For use inside vision/image.
#pragma once

#include <cstdint>

namespace vretnet::vision {

// From `base` (factor 0) towards `value` (factor 1) and beyond, cut off to 8 bits.
inline std::uint8_t blend(int base, int value, float factor) {
  const float mixed = float(base) + factor * float(value - base);
  return mixed <= 0 ? 0 : mixed >= 255 ? 255 : std::uint8_t(mixed);
}

}  // namespace vretnet::vision
