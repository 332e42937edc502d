// Tensor cores for the emulator: 16 × 16 matrices shared out over the lanes of a warp, eight elements each.
// Which lane has which element is drawn anew for every schedule, so that a kernel that believes to know it is
// wrong. Every function is called by all lanes of a warp and orders no memory, as a shuffle.
#pragma once

#include <cstdint>

namespace vretnet::emulation {

constexpr int kFragmentSide = 16, kElementsOfLane = 8;

enum class Part : std::uint8_t { left, right, sums };

// Memory to fragment: `mine` are the eight elements that the lane has read, row lane % 16, half a row each
// (bf16), or the four pairs that pair_of says (sums); `x` are those that it keeps.
void distribute(Part part, bool by_rows, const std::uint16_t* mine, std::uint16_t* x);
void distribute(const float* mine, float* x);
// The other way.
void collect(const float* x, float* mine);
// The lane's j-th pair of f32 in memory, j = 0 … 3.
struct PairPlace {
  int row, column;
};
inline PairPlace pair_of(int lane, int j) {
  return {lane / 4 + 8 * (j % 2), lane % 4 * 2 + 8 * (j / 2)};
}
// sums += left · right, bf16 factors, f32 sums.
void multiply_add(float* sums, const std::uint16_t* left, const std::uint16_t* right);

}  // namespace vretnet::emulation
