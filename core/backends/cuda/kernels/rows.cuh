// Strided tensors of one shape, walked together: how every element-by-element and row-by-row kernel sees
// memory.
//   host:   const Rows<2> rows = merged_rows<2>({x, y});      width as long as memory allows
//           const Rows<2> rows = innermost_rows<2>({x, y});   a row is the innermost axis
//   device: rows.at<S>(n, row) is the first element of row `row` of tensor n, stored in S; null where the
//           tensor was not given.
#pragma once

#include <gpu.h>

#include <array>
#include <cstdint>

#include "core/tensor/view.h"

namespace vretnet::cuda {

constexpr int kOuterAxes = 5;

template <int N>
struct Rows {
  void* data[N];
  std::int64_t stride[N][kOuterAxes];  // of the outer axes, the fastest first
  int inner[N];                        // stride within a row
  unsigned extent[kOuterAxes];
  int axes;
  unsigned width, rows;
  bool vector;  // in every tensor every four elements of a row begin at a multiple of their size

  template <class S>
  __device__ S* at(int n, unsigned row) const {
    S* first = static_cast<S*>(data[n]);
    if (first == nullptr) return first;
    for (int axis = 0; axis < axes; ++axis) {
      first += static_cast<std::int64_t>(row % extent[axis]) * stride[n][axis];
      row /= extent[axis];
    }
    return first;
  }
};

// Elements of a row that one thread has: four in one access where every tensor allows it, else one, so that
// lanes are neighbours whatever the strides. What is not given reads as 0.
struct Quad {
  float value[4];
};
template <class S, int N>
__device__ inline Quad read_elements(const Rows<N>& rows, int n, const S* row, unsigned column, bool four) {
  if (row == nullptr) return {{0, 0, 0, 0}};
  if (!four) return {{load(row + static_cast<std::int64_t>(column) * rows.inner[n]), 0, 0, 0}};
  const float4 quad = load4(row + column);
  return {{quad.x, quad.y, quad.z, quad.w}};
}
template <class S, int N>
__device__ inline void write_elements(const Rows<N>& rows, int n, S* row, unsigned column, const Quad& quad,
                                      bool four) {
  if (!four) {
    store(row + static_cast<std::int64_t>(column) * rows.inner[n], quad.value[0]);
  } else {
    store4(row + column, make_float4(quad.value[0], quad.value[1], quad.value[2], quad.value[3]));
  }
}

// ------------------------------------------------------------------------------------------------- host

// A View without the limit of rank 5, with its address on the device.
struct Strided {
  static constexpr int kMaxAxes = kOuterAxes + 1;
  void* data = nullptr;
  DType dtype = DType::f32;
  int rank = 0;
  std::int64_t extent[kMaxAxes] = {}, stride[kMaxAxes] = {};

  Strided() = default;
  Strided(const View& view);  // NOLINT(google-explicit-constructor): kernels are called with views
  void push_back(std::int64_t the_extent, std::int64_t the_stride);
  void skip(std::int64_t elements);  // the first so many
};

namespace detail {
struct RowsOutput {
  void** data;
  std::int64_t (*stride)[kOuterAxes];
  int* inner;
  unsigned* extent;
  int* axes;
  unsigned *width, *rows;
  bool* vector;
};
void make_rows(const Strided* tensors, int count, bool merge, const RowsOutput& rows);
template <int N>
Rows<N> make_rows(const std::array<Strided, N>& tensors, bool merge) {
  Rows<N> rows{};
  make_rows(
      tensors.data(), N, merge,
      {rows.data, rows.stride, rows.inner, rows.extent, &rows.axes, &rows.width, &rows.rows, &rows.vector});
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
