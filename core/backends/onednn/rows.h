// Strided views of one shape, walked together row by row: the way all element-by-element kernels see memory.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/backends/onednn/parallel.h"
#include "core/base/ensure.h"
#include "core/tensor/view.h"

namespace vretnet::onednn {

enum class RowAxes { merged, innermost };  // as long as memory allows, or exactly the innermost axis

// N f32 views of equal shape whose innermost axis has stride 1. An empty view gives null rows.
template <int N>
class Rows {
 public:
  using Pointers = std::array<float*, N>;

  Rows(const std::array<View, N>& views, RowAxes axes) {
    const View& first = views[0];
    for (int n = 0; n < N; ++n) {
      if (!views[n]) continue;
      ensure(views[n].shape() == first.shape(), "views of {} and {}", views[n].shape().text(),
             first.shape().text());
      if (first.elements() > 0) base_[n] = views[n].template data<float>();
    }
    int axis = first.rank() - 1;
    if (axes == RowAxes::innermost) {
      width_ = first.extent(axis);
      for (const View& view : views) {
        ensure(!view || width_ <= 1 || view.stride(axis) == 1, "innermost stride {}", view.stride(axis));
      }
      --axis;
    } else {
      // The row grows outwards while every view goes on where it ended.
      for (; axis >= 0 && joins(views, axis, width_); --axis) width_ *= first.extent(axis);
    }
    for (; axis >= 0; --axis) {
      const std::int64_t extent = first.extent(axis);
      rows_ *= extent;
      if (extent == 1) continue;
      if (rank_ > 0 && follows(views, axis)) {
        extents_[rank_ - 1] *= extent;
        continue;
      }
      extents_[rank_] = extent;
      for (int n = 0; n < N; ++n) strides_[n][rank_] = views[n] ? views[n].stride(axis) : 0;
      ++rank_;
    }
  }

  std::int64_t rows() const { return rows_; }
  std::int64_t width() const { return width_; }

  // visit(row, pointers) for the rows of a range, in order.
  template <class Visit>
  void for_each(Range range, Visit&& visit) const {
    if (range.begin >= range.end) return;
    std::array<std::int64_t, kMaxRank> index{};
    Pointers at = start(range.begin, index);
    for (std::int64_t row = range.begin;;) {
      visit(row, at);
      if (++row == range.end) return;
      advance(at, index);
    }
  }

  // visit(pointers, count) for all elements, in pieces shared out among the threads. Rows are cut where that
  // balances the work.
  template <class Visit>
  void for_all_elements(std::int64_t cost, Visit&& visit) const {
    const std::int64_t elements = rows_ * width_;
    if (elements == 0) return;
    const int parts = parts_for(elements * cost);
    for_parts(parts, [&](int part) {
      const Range range = part_of(elements, part, parts, kCut);
      std::int64_t element = range.begin;
      if (element >= range.end) return;
      std::int64_t skip = element % width_;
      for_each({element / width_, (range.end + width_ - 1) / width_}, [&](std::int64_t, Pointers at) {
        const std::int64_t count = std::min(width_ - skip, range.end - element);
        for (float*& pointer : at) {
          if (pointer) pointer += skip;
        }
        visit(at, count);
        element += count;
        skip = 0;
      });
    });
  }

 private:
  static constexpr std::int64_t kCut = 64;  // elements: whole cache lines for every thread

  static bool joins(const std::array<View, N>& views, int axis, std::int64_t width) {
    if (views[0].extent(axis) == 1) return true;
    for (const View& view : views) {
      if (view && view.stride(axis) != width) return false;
    }
    return true;
  }
  // Whether axis and the outer axis noted last are one axis to every view.
  bool follows(const std::array<View, N>& views, int axis) const {
    for (int n = 0; n < N; ++n) {
      if (views[n] && views[n].stride(axis) != strides_[n][rank_ - 1] * extents_[rank_ - 1]) return false;
    }
    return true;
  }
  Pointers start(std::int64_t row, std::array<std::int64_t, kMaxRank>& index) const {
    Pointers at = base_;
    for (int axis = 0; axis < rank_; ++axis) {
      index[axis] = row % extents_[axis];
      row /= extents_[axis];
      for (int n = 0; n < N; ++n) {
        if (at[n]) at[n] += index[axis] * strides_[n][axis];
      }
    }
    return at;
  }
  void advance(Pointers& at, std::array<std::int64_t, kMaxRank>& index) const {
    for (int axis = 0; axis < rank_; ++axis) {
      const bool wraps = ++index[axis] == extents_[axis];
      const std::int64_t steps = wraps ? 1 - extents_[axis] : 1;
      for (int n = 0; n < N; ++n) {
        if (at[n]) at[n] += steps * strides_[n][axis];
      }
      if (!wraps) return;
      index[axis] = 0;
    }
  }

  std::int64_t rows_ = 1, width_ = 1;
  int rank_ = 0;  // outer axes, the fastest first
  std::array<std::int64_t, kMaxRank> extents_{};
  std::array<std::array<std::int64_t, kMaxRank>, N> strides_{};
  Pointers base_{};
};

}  // namespace vretnet::onednn
