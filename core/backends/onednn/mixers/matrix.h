// Windows on row-major f32 matrices, and the scratch memory that a thread cuts them from.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstddef>

#include "core/ops/workspace.h"
#include "core/tensor/view.h"

namespace vretnet::onednn {

// Memory that belongs to somebody else; rows are `stride` floats apart (may be negative), elements of a row
// lie side by side. No data: "not given".
template <class T>
struct Matrix {
  T* data = nullptr;
  std::ptrdiff_t stride = 0;

  explicit operator bool() const { return data != nullptr; }
  operator Matrix<const T>() const { return {data, stride}; }  // NOLINT(google-explicit-constructor)
  T* row(std::size_t r) const { return data + static_cast<std::ptrdiff_t>(r) * stride; }
  Matrix from_row(std::size_t r) const { return data ? Matrix{row(r), stride} : Matrix(); }
};
using Input = Matrix<const float>;
using Output = Matrix<float>;

inline void copy_rows(std::size_t rows, std::size_t columns, Input x, Output y) {
  for (std::size_t r = 0; r < rows; ++r) std::copy_n(x.row(r), columns, y.row(r));
}

// [batch, tokens, heads, width] → the [tokens, width] of one image and head.
inline Output head_of(const View& view, std::int64_t image, std::int64_t head) {
  if (!view) return {};
  const std::int64_t first = image * view.stride(0) + head * view.stride(2);
  return {view.data<float>() + first, view.stride(1)};
}

// Scores are padded to whole vectors of any target, so that only memory of others needs masks.
constexpr std::size_t kPadding = 16;
constexpr std::size_t padded(std::size_t count) {
  return (count + kPadding - 1) / kPadding * kPadding;
}

// Cuts matrices from one thread's memory. Without memory it only counts, so that the same calls measure and
// run.
class Scratch {
 public:
  explicit Scratch(float* memory = nullptr) : memory_(memory) {}
  // 64-byte aligned; content undefined.
  float* take(std::size_t floats) {
    float* taken = memory_ ? memory_ + used_ : nullptr;
    used_ += padded(floats);
    return taken;
  }
  Output take(std::size_t rows, std::size_t columns) {
    return {take(rows * columns), static_cast<std::ptrdiff_t>(columns)};
  }
  std::size_t floats() const { return used_; }

 private:
  float* memory_;
  std::size_t used_ = 0;
};

inline std::size_t bytes_for_threads(std::size_t floats_per_thread) {
  ops::Workspace workspace;
  workspace.take(DType::f32, {omp_get_max_threads(), static_cast<std::int64_t>(padded(floats_per_thread))});
  return workspace.bytes();
}

// run(task, memory of the thread) for every task, shared out by a static schedule.
template <class Run>
void for_tasks(std::int64_t tasks, const View& memory, std::size_t floats_per_thread, const Run& run) {
  if (tasks == 0) return;
  const std::int64_t threads = std::min<std::int64_t>(omp_get_max_threads(), tasks);
  const std::int64_t floats = static_cast<std::int64_t>(padded(floats_per_thread));
  float* first = nullptr;
  if (floats > 0) first = ops::Workspace(memory).take(DType::f32, {threads, floats}).data<float>();
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (std::int64_t task = 0; task < tasks; ++task) run(task, first + omp_get_thread_num() * floats);
}

}  // namespace vretnet::onednn
