#include "core/backends/onednn/mixers/small_gemm.h"

#include <algorithm>
#include <array>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/mixers/small_gemm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "core/backends/onednn/mixers/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

// A tile of c is kept in registers: rows × vectors accumulators, one register for a row of b per vector and
// one for the broadcast element of a. AVX-512 and NEON have 32 registers, AVX2 has 16.
constexpr bool kManyRegisters = HWY_TARGET != HWY_AVX2;
constexpr int kMaxVectors = kManyRegisters ? 4 : 2;
constexpr int max_rows(int vectors) {
  if (!kManyRegisters) return vectors == 1 ? 10 : 6;
  return vectors == 4 ? 6 : vectors == 3 ? 8 : 12;
}
// Rows of b that a tile walks through at once: kDepth rows of kMaxVectors vectors stay in a 32 KiB
// first-level cache.
constexpr std::size_t kDepth = 112;

struct Tile {
  std::size_t depth, tail;  // tail: elements in the last vector
  const float* a;
  std::ptrdiff_t a_row, a_depth;  // strides of op(a)
  const float* b;
  std::ptrdiff_t b_stride;
  float* c;
  std::ptrdiff_t c_stride;
  bool accumulate;
  float keep;  // of c, where it accumulates
};

template <int kRows, int kVectors, Left kLeft, bool kTail>
void run_tile(const Tile& tile) {
  Vector sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::Zero(Floats());
  }
  const float* HWY_RESTRICT a = tile.a;
  const float* HWY_RESTRICT b = tile.b;
  const std::ptrdiff_t a_row = kLeft == Left::transposed ? 1 : tile.a_row;
  const std::ptrdiff_t a_depth = kLeft == Left::transposed ? tile.a_depth : 1;
  for (std::size_t k = 0; k < tile.depth; ++k, a += a_depth, b += tile.b_stride) {
    Vector row[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      row[v] = kTail && v == kVectors - 1 ? load_first(b + v * kLanes, tile.tail)
                                          : hn::LoadU(Floats(), b + v * kLanes);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vector element = hn::Set(Floats(), a[r * a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(element, row[v], sums[r][v]);
    }
  }
  const Vector keep = hn::Set(Floats(), tile.keep);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    float* c = tile.c + r * tile.c_stride;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v, c += kLanes) {
      if (kTail && v == kVectors - 1) {
        if (tile.accumulate) sums[r][v] = hn::MulAdd(keep, load_first(c, tile.tail), sums[r][v]);
        store_first(sums[r][v], c, tile.tail);
      } else {
        if (tile.accumulate) sums[r][v] = hn::MulAdd(keep, hn::LoadU(Floats(), c), sums[r][v]);
        hn::StoreU(sums[r][v], Floats(), c);
      }
    }
  }
}

using RunTile = void (*)(const Tile&);

// Tiles of 1 … max_rows(kVectors) rows; entry r is r + 1 rows.
template <int kVectors, Left kLeft, bool kTail, int... kRow>
constexpr std::array<RunTile, sizeof...(kRow)> tiles(std::integer_sequence<int, kRow...>) {
  return {run_tile<kRow + 1, kVectors, kLeft, kTail>...};
}
template <int kVectors, Left kLeft, bool kTail>
constexpr auto kTiles = tiles<kVectors, kLeft, kTail>(std::make_integer_sequence<int, max_rows(kVectors)>());

template <int kVectors, Left kLeft, bool kTail>
void run_rows(std::size_t rows, Tile tile) {
  // Equal blocks: 49 rows are 9 blocks of 5 and 6, not 8 of 6 and one of 1.
  const std::size_t blocks = (rows + max_rows(kVectors) - 1) / max_rows(kVectors);
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::size_t count = rows / blocks + (i < rows % blocks);
    kTiles<kVectors, kLeft, kTail>[count - 1](tile);
    tile.a += static_cast<std::ptrdiff_t>(count) * tile.a_row;
    tile.c += static_cast<std::ptrdiff_t>(count) * tile.c_stride;
  }
}

template <int kVectors, Left kLeft>
void run_columns(std::size_t vectors, std::size_t rows, const Tile& tile) {
  if constexpr (kVectors > 1) {
    if (vectors < kVectors) return run_columns<kVectors - 1, kLeft>(vectors, rows, tile);
  }
  if (tile.tail == kLanes) return run_rows<kVectors, kLeft, false>(rows, tile);
  run_rows<kVectors, kLeft, true>(rows, tile);
}

template <Left kLeft>
void multiply_as(std::size_t rows, std::size_t columns, std::size_t depth, Input a, Input b, Output c,
                 Sum sum, float keep) {
  const std::size_t vectors = (columns + kLanes - 1) / kLanes;
  const std::size_t panels = (vectors + kMaxVectors - 1) / kMaxVectors;
  const std::size_t steps = std::max<std::size_t>((depth + kDepth - 1) / kDepth, 1);
  Tile tile;
  tile.a_row = kLeft == Left::transposed ? 1 : a.stride;
  tile.a_depth = kLeft == Left::transposed ? a.stride : 1;
  tile.b_stride = b.stride;
  tile.c_stride = c.stride;
  std::size_t first_depth = 0;
  for (std::size_t step = 0; step < steps; ++step) {
    tile.depth = depth / steps + (step < depth % steps);
    tile.accumulate = sum == Sum::added || step > 0;
    tile.keep = step > 0 ? 1 : keep;
    tile.a = a.data + static_cast<std::ptrdiff_t>(first_depth) * tile.a_depth;
    std::size_t column = 0;
    for (std::size_t panel = 0; panel < panels; ++panel) {
      const std::size_t count = vectors / panels + (panel < vectors % panels);
      tile.tail = std::min(columns - column, count * kLanes) - (count - 1) * kLanes;
      tile.b = b.row(first_depth) + column;
      tile.c = c.data + column;
      run_columns<kMaxVectors, kLeft>(count, rows, tile);
      column += count * kLanes;
    }
    first_depth += tile.depth;
  }
}

void multiply(Left left, std::size_t rows, std::size_t columns, std::size_t depth, Input a, Input b, Output c,
              Sum sum, float keep) {
  if (left == Left::transposed) {
    return multiply_as<Left::transposed>(rows, columns, depth, a, b, c, sum, keep);
  }
  multiply_as<Left::plain>(rows, columns, depth, a, b, c, sum, keep);
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(multiply);

void multiply(Left left, std::size_t rows, std::size_t columns, std::size_t depth, Input a, Input b, Output c,
              Sum sum, float keep) {
  if (rows == 0 || columns == 0) return;
  HWY_DYNAMIC_DISPATCH(multiply)(left, rows, columns, depth, a, b, c, sum, keep);
}

}  // namespace vretnet::onednn
#endif
