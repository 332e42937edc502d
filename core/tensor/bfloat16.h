// The upper half of an f32: 8 bits of exponent, 8 of precision. For storage; nothing computes in it.
#pragma once

#include <cstdint>
#include <cstring>

namespace vretnet {

struct BFloat16 {
  std::uint16_t bits;
};

inline float to_float(BFloat16 value) {
  const std::uint32_t bits = std::uint32_t{value.bits} << 16;
  float number;
  std::memcpy(&number, &bits, sizeof number);
  return number;
}

// The nearest, ties to even; infinity beyond the largest; NaN stays NaN.
inline BFloat16 to_bfloat16(float number) {
  std::uint32_t bits;
  std::memcpy(&bits, &number, sizeof bits);
  if (number != number) return {static_cast<std::uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

}  // namespace vretnet
