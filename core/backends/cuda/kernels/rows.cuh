// Strided tensors of one shape, walked together: how every element-by-element and row-by-row kernel sees
// memory.
//   host:   const Rows<2> rows = merged_rows<2>({x, y});      width as long as memory allows
//           const Rows<2> rows = innermost_rows<2>({x, y});   a row is the innermost axis
//   device: rows.at(n, row) is the first element of row `row` of tensor n, or null where it was not given.
#pragma once

#include <gpu.h>

#include <array>
#include <cstdint>

#include "core/tensor/view.h"

namespace vretnet::cuda {

constexpr int kOuterAxes = 5;

template <int N>
struct Rows {
  float* data[N];
  std::int64_t stride[N][kOuterAxes];  // of the outer axes, the fastest first
  int inner[N];                        // stride within a row
  bool vector[N];                      // every four elements of a row begin at a multiple of 16 bytes
  unsigned extent[kOuterAxes];
  int axes;
  unsigned width, rows;

  __device__ float* at(int n, unsigned row) const {
    float* first = data[n];
    if (first == nullptr) return first;
    for (int axis = 0; axis < axes; ++axis) {
      first += static_cast<std::int64_t>(row % extent[axis]) * stride[n][axis];
      row /= extent[axis];
    }
    return first;
  }
};

// Up to four elements of a row from column `column` on; 0 behind the row's end and where nothing was given.
struct Quad {
  float value[4];
};
template <int N>
__device__ inline Quad read_quad(const Rows<N>& rows, int n, const float* row, unsigned column) {
  Quad quad = {{0, 0, 0, 0}};
  if (row == nullptr) return quad;
  if (rows.vector[n]) {
    const float4 four = load4(row + column);
    return {{four.x, four.y, four.z, four.w}};
  }
  for (unsigned i = 0; i < 4; ++i) {
    if (column + i < rows.width) quad.value[i] = row[static_cast<std::int64_t>(column + i) * rows.inner[n]];
  }
  return quad;
}
template <int N>
__device__ inline void write_quad(const Rows<N>& rows, int n, float* row, unsigned column, const Quad& quad) {
  if (rows.vector[n]) {
    store4(row + column, make_float4(quad.value[0], quad.value[1], quad.value[2], quad.value[3]));
    return;
  }
  for (unsigned i = 0; i < 4; ++i) {
    if (column + i < rows.width) row[static_cast<std::int64_t>(column + i) * rows.inner[n]] = quad.value[i];
  }
}

// ------------------------------------------------------------------------------------------------- host

// A View without the limit of rank 5, with its address on the device.
struct Strided {
  static constexpr int kMaxAxes = kOuterAxes + 1;
  float* data = nullptr;
  int rank = 0;
  std::int64_t extent[kMaxAxes] = {}, stride[kMaxAxes] = {};

  Strided() = default;
  Strided(const View& view);  // NOLINT(google-explicit-constructor): kernels are called with views
  void push_back(std::int64_t the_extent, std::int64_t the_stride);
};

namespace detail {
struct RowsOutput {
  float** data;
  std::int64_t (*stride)[kOuterAxes];
  int* inner;
  bool* vector;
  unsigned* extent;
  int* axes;
  unsigned *width, *rows;
};
void make_rows(const Strided* tensors, int count, bool merge, const RowsOutput& rows);
template <int N>
Rows<N> make_rows(const std::array<Strided, N>& tensors, bool merge) {
  Rows<N> rows{};
  make_rows(
      tensors.data(), N, merge,
      {rows.data, rows.stride, rows.inner, rows.vector, rows.extent, &rows.axes, &rows.width, &rows.rows});
  return rows;
}
}  // namespace detail

// The first tensor must be given and decides the shape. Fewer than 2³² elements.
template <int N>
Rows<N> merged_rows(const std::array<Strided, N>& tensors) {
  return detail::make_rows<N>(tensors, true);
}
template <int N>
Rows<N> innermost_rows(const std::array<Strided, N>& tensors) {
  return detail::make_rows<N>(tensors, false);
}

}  // namespace vretnet::cuda
