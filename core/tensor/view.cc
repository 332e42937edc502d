#include "core/tensor/view.h"

#include <utility>

#include "core/base/ensure.h"

namespace vretnet {

std::size_t bytes_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return 4;
    case DType::f64:
      return 8;
    case DType::s8:
      return 1;
    case DType::bf16:
      return 2;
  }
  ensure(false, "no dtype");
  return 0;
}

const char* name_of(DType dtype) {
  return dtype == DType::f32 ? "f32" : dtype == DType::f64 ? "f64" : dtype == DType::s8 ? "s8" : "bf16";
}

Shape::Shape(std::initializer_list<std::int64_t> extents) {
  for (std::int64_t extent : extents) push_back(extent);
}

std::int64_t Shape::elements() const {
  std::int64_t product = 1;
  for (int axis = 0; axis < rank_; ++axis) product *= extents_[axis];
  return product;
}

void Shape::push_back(std::int64_t extent) {
  ensure(rank_ < kMaxRank, "rank {} is the largest", kMaxRank);
  ensure(extent >= 0, "extent {} of axis {}", extent, rank_);
  extents_[rank_++] = extent;
}

bool Shape::operator==(const Shape& other) const {
  if (rank_ != other.rank_) return false;
  for (int axis = 0; axis < rank_; ++axis) {
    if (extents_[axis] != other.extents_[axis]) return false;
  }
  return true;
}

std::string Shape::text() const {
  std::string text = "[";
  for (int axis = 0; axis < rank_; ++axis) text += fmt::format("{}{}", axis ? ", " : "", extents_[axis]);
  return text + "]";
}

View::View(const Buffer* buffer, DType dtype, const Shape& shape, std::int64_t offset)
    : buffer_(buffer), dtype_(dtype), offset_(offset), shape_(shape) {
  std::int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides_[axis] = stride;
    stride *= shape[axis];
  }
}

bool View::contiguous() const {
  return contiguous_from(0);
}

bool View::contiguous_from(int axis) const {
  std::int64_t stride = 1;
  for (int a = rank() - 1; a >= resolve(axis); --a) {
    if (shape_[a] != 1 && strides_[a] != stride) return false;
    stride *= shape_[a];
  }
  return true;
}

View View::slice(int axis, std::int64_t begin, std::int64_t count) const {
  axis = resolve(axis);
  ensure(begin >= 0 && count >= 0 && begin + count <= shape_[axis], "slice {}+{} of axis {} of {}", begin,
         count, axis, shape_.text());
  View view = *this;
  view.offset_ += begin * strides_[axis];
  view.shape_[axis] = count;
  return view;
}

View View::select(int axis, std::int64_t index) const {
  axis = resolve(axis);
  const View one = slice(axis, index, 1);
  View view = one;
  view.shape_ = {};
  for (int a = 0, next = 0; a < one.rank(); ++a) {
    if (a == axis) continue;
    view.shape_.push_back(one.shape_[a]);
    view.strides_[next++] = one.strides_[a];
  }
  return view;
}

View View::every(int axis, std::int64_t step, std::int64_t first) const {
  axis = resolve(axis);
  ensure(step > 0 && first >= 0 && first < shape_[axis], "every {} from {} of axis {} of {}", step, first,
         axis, shape_.text());
  View view = *this;
  view.offset_ += first * strides_[axis];
  view.shape_[axis] = (shape_[axis] - first + step - 1) / step;
  view.strides_[axis] = step * strides_[axis];
  return view;
}

View View::reversed(int axis) const {
  axis = resolve(axis);
  View view = *this;
  if (shape_[axis] > 0) view.offset_ += (shape_[axis] - 1) * strides_[axis];
  view.strides_[axis] = -strides_[axis];
  return view;
}

View View::transposed(int axis_a, int axis_b) const {
  axis_a = resolve(axis_a);
  axis_b = resolve(axis_b);
  View view = *this;
  std::swap(view.shape_[axis_a], view.shape_[axis_b]);
  std::swap(view.strides_[axis_a], view.strides_[axis_b]);
  return view;
}

View View::split(int axis, std::int64_t outer) const {
  axis = resolve(axis);
  ensure(outer > 0 && shape_[axis] % outer == 0, "axis {} of {} into {} parts", axis, shape_.text(), outer);
  const std::int64_t inner = shape_[axis] / outer;
  View view = *this;
  view.shape_ = {};
  for (int a = 0, next = 0; a < rank(); ++a) {
    if (a == axis) {
      view.shape_.push_back(outer);
      view.strides_[next++] = inner * strides_[a];
    }
    view.shape_.push_back(a == axis ? inner : shape_[a]);
    view.strides_[next++] = strides_[a];
  }
  return view;
}

View View::merged(int axis) const {
  axis = resolve(axis);
  ensure(axis + 1 < rank(), "axis {} of {} has no inner neighbour", axis, shape_.text());
  ensure(shape_[axis] == 1 || strides_[axis] == shape_[axis + 1] * strides_[axis + 1],
         "axes {} and {} of {} are not one after the other in memory", axis, axis + 1, shape_.text());
  View view = *this;
  view.shape_ = {};
  for (int a = 0, next = 0; a < rank(); ++a) {
    if (a == axis) continue;
    view.shape_.push_back(a == axis + 1 ? shape_[axis] * shape_[a] : shape_[a]);
    view.strides_[next++] = strides_[a];
  }
  return view;
}

View View::broadcast(int axis, std::int64_t count) const {
  axis = axis < 0 ? axis + rank() + 1 : axis;
  View view = *this;
  view.shape_ = {};
  for (int a = 0, next = 0; a <= rank(); ++a) {
    if (a == axis) {
      view.shape_.push_back(count);
      view.strides_[next++] = 0;
    }
    if (a == rank()) break;
    view.shape_.push_back(shape_[a]);
    view.strides_[next++] = strides_[a];
  }
  return view;
}

View View::reshaped(const Shape& shape) const {
  ensure(contiguous(), "only a contiguous view can be reshaped, {}", shape_.text());
  ensure(shape.elements() == elements(), "{} has not as many elements as {}", shape.text(), shape_.text());
  return View(buffer_, dtype_, shape, offset_);
}

void* View::address() const {
  ensure(buffer_ != nullptr && buffer_->data != nullptr, "a view of {} without memory was read",
         shape_.text());
  return static_cast<char*>(buffer_->data) + offset_ * static_cast<std::int64_t>(bytes_of(dtype_));
}

}  // namespace vretnet
