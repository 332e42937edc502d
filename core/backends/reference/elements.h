// How the loops of the reference reach elements: x(b, t, c) whatever the strides.
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include "core/backends/reference/tracked.h"
#include "core/ops/ops.h"

namespace vretnet::reference {

using Index = std::int64_t;
using Indices = std::array<Index, kMaxRank>;

// How far apart the elements of a view lie in an array of T. Views of any dtype may lie over one array of
// Tracked, which has one for every two bytes of them.
template <class T>
Index spacing(const View& view) {
  return std::is_same_v<T, Tracked> ? static_cast<Index>(bytes_of(view.dtype()) / 2) : 1;
}

// A view with its element type T. False where the view was not given.
template <class T>
class Elements {
 public:
  explicit Elements(const View& view) : shape_(view.shape()) {
    if (!view) return;
    const Index apart = spacing<T>(view);
    first_ = static_cast<T*>(view.buffer()->data) + apart * view.offset();
    for (int axis = 0; axis < view.rank(); ++axis) strides_[axis] = apart * view.stride(axis);
  }

  explicit operator bool() const { return first_ != nullptr; }
  Index extent(int axis) const { return shape_[axis]; }
  Index size() const { return shape_.elements(); }
  const Shape& shape() const { return shape_; }

  template <class... Each>
  T& operator()(Each... index) const {
    Index offset = 0;
    int axis = 0;
    ((offset += index * strides_[axis++]), ...);
    return first_[offset];
  }
  T& operator[](const Indices& index) const {
    Index offset = 0;
    for (int axis = 0; axis < shape_.rank(); ++axis) offset += index[axis] * strides_[axis];
    return first_[offset];
  }

 private:
  T* first_ = nullptr;
  Shape shape_;
  Indices strides_{};
};

// visit(index) for every element of a shape, the innermost axis fastest.
template <class Visit>
void for_each_index(const Shape& shape, Visit&& visit) {
  Indices index{};
  for (Index remaining = shape.elements(); remaining > 0; --remaining) {
    visit(index);
    for (int axis = shape.rank() - 1; axis >= 0 && ++index[axis] == shape[axis]; --axis) index[axis] = 0;
  }
}

// target = value, or target += value.
template <class T>
void put(T& target, const T& value, ops::Write write) {
  target = write == ops::Write::accumulate ? target + value : value;
}

}  // namespace vretnet::reference
