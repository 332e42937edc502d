// Strided matrices and the few products that every form of retention is made of. Sums run in T, from the
// first term to the last. Inputs and outputs do not overlap.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/tensor/view.h"

namespace vretnet::retention {

// A window on memory that it does not own. Strides may be negative. No data: "not given".
template <class T>
struct Matrix {
  T* data = nullptr;
  std::int64_t rows = 0, columns = 0;
  std::int64_t row_stride = 0, column_stride = 1;

  explicit operator bool() const { return data != nullptr; }
  operator Matrix<const T>() const requires(!std::is_const_v<T>) {  // NOLINT(google-explicit-constructor)
    return {data, rows, columns, row_stride, column_stride};
  }
  T& operator()(std::int64_t row, std::int64_t column) const {
    return data[row * row_stride + column * column_stride];
  }
  Matrix transposed() const { return {data, columns, rows, column_stride, row_stride}; }
  Matrix row_block(std::int64_t begin, std::int64_t count) const {
    return {data + begin * row_stride, count, columns, row_stride, column_stride};
  }
  Matrix top_left(std::int64_t count) const { return {data, count, count, row_stride, column_stride}; }
};

// Arguments that take part in no deduction: T comes from the output.
template <class T>
using Input = Matrix<const std::type_identity_t<T>>;
template <class T>
using Weights = const std::type_identity_t<T>*;  // one number a row; null: 1

template <class T>
Matrix<T> matrix_of(const View& view) {
  if (!view) return {};
  return {view.data<T>(), view.extent(0), view.extent(1), view.stride(0), view.stride(1)};
}

// Head `head` of sequence `batch` of a view [batch, tokens, heads, d]; nothing for an empty view.
template <class T>
Matrix<T> head_of(const View& view, std::int64_t batch, std::int64_t head) {
  return view ? matrix_of<T>(view.select(0, batch).select(1, head)) : Matrix<T>();
}

// The matrix of head `head` of sequence `batch` of a view [batch, heads, d_k, d_v]; nothing for an empty
// view.
template <class T>
Matrix<T> state_of(const View& view, std::int64_t batch, std::int64_t head) {
  return view ? matrix_of<T>(view.select(0, batch).select(0, head)) : Matrix<T>();
}

// Row `head` of a table [heads, n]; nothing for an empty view.
template <class T>
Weights<T> weights_of(const View& view, std::int64_t head) {
  return view ? view.data<T>() + head * view.stride(0) : nullptr;
}

template <class T>
void fill(Matrix<T> y, std::type_identity_t<T> value) {
  for (std::int64_t i = 0; i < y.rows; ++i)
    for (std::int64_t j = 0; j < y.columns; ++j) y(i, j) = value;
}

// y = x, or 0 where x is not given.
template <class T>
void copy(Matrix<T> y, Input<T> x) {
  if (!x) return fill(y, 0);
  for (std::int64_t i = 0; i < y.rows; ++i)
    for (std::int64_t j = 0; j < y.columns; ++j) y(i, j) = x(i, j);
}

// y = factor · y.
template <class T>
void scale(Matrix<T> y, std::type_identity_t<T> factor) {
  for (std::int64_t i = 0; i < y.rows; ++i)
    for (std::int64_t j = 0; j < y.columns; ++j) y(i, j) *= factor;
}

// y = weights ⊙ y, row by row.
template <class T>
void scale_rows(Matrix<T> y, Weights<T> weights) {
  if (weights == nullptr) return;
  for (std::int64_t i = 0; i < y.rows; ++i) scale(y.row_block(i, 1), weights[i]);
}

// y += weights ⊙ (a·state): what the tokens of a read from a state.
template <class T>
void add_read(Matrix<T> y, Weights<T> weights, Input<T> a, Input<T> state) {
  for (std::int64_t i = 0; i < y.rows; ++i) {
    for (std::int64_t k = 0; k < a.columns; ++k) {
      const T factor = weights ? weights[i] * a(i, k) : a(i, k);
      for (std::int64_t j = 0; j < y.columns; ++j) y(i, j) += factor * state(k, j);
    }
  }
}

// state += bᵀ(weights ⊙ c): what the tokens of b and c give to a state.
template <class T>
void add_write(Matrix<T> state, Input<T> b, Weights<T> weights, Input<T> c) {
  for (std::int64_t i = 0; i < b.rows; ++i) {
    for (std::int64_t k = 0; k < b.columns; ++k) {
      const T factor = weights ? weights[i] * b(i, k) : b(i, k);
      for (std::int64_t j = 0; j < c.columns; ++j) state(k, j) += factor * c(i, j);
    }
  }
}

// y += ((a·bᵀ) ⊙ mask)·c. Where the mask is 0 nothing is read: what is masked cannot spread, NaN included.
template <class T>
void add_masked_product(Matrix<T> y, Input<T> a, Input<T> b, Input<T> mask, Input<T> c) {
  for (std::int64_t i = 0; i < y.rows; ++i) {
    for (std::int64_t l = 0; l < b.rows; ++l) {
      const T decay = mask(i, l);
      if (decay == 0) continue;
      T score = 0;
      for (std::int64_t k = 0; k < a.columns; ++k) score += a(i, k) * b(l, k);
      const T factor = score * decay;
      for (std::int64_t j = 0; j < y.columns; ++j) y(i, j) += factor * c(l, j);
    }
  }
}

}  // namespace vretnet::retention
