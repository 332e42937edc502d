// What a tensor looks like: element type, shape, strides, and where its first element lies. A View never
// owns memory; an Arena, a flat parameter array or a table does (arena.h, allocation.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace vretnet {

enum class DType : std::uint8_t { f32, f64, s8, bf16 };  // s8: quantized weights only
std::size_t bytes_of(DType dtype);
const char* name_of(DType dtype);
// What statistics, tables, states, sums and gradients of parameters have beside activations of this dtype:
// bf16 is for storage alone.
constexpr DType wide_of(DType dtype) {
  return dtype == DType::bf16 ? DType::f32 : dtype;
}

constexpr int kMaxRank = 5;

// Extents from the outermost axis to the innermost. Rank 0 … kMaxRank; every extent ≥ 0.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return extents_[axis]; }
  std::int64_t& operator[](int axis) { return extents_[axis]; }
  std::int64_t elements() const;
  void push_back(std::int64_t extent);
  bool operator==(const Shape& other) const;
  std::string text() const;  // "[2, 49, 96]"

 private:
  int rank_ = 0;
  std::array<std::int64_t, kMaxRank> extents_{};
};

// Memory of a backend. `data` is a host address for CPU backends, null while memory is only being measured.
struct Buffer {
  void* data = nullptr;
  std::size_t bytes = 0;
};

// A strided window on a buffer. Copying a View copies no elements. Strides and offset count elements and a
// stride may be 0 (broadcast) or negative (read backwards). An empty View (no buffer) means "not given".
// Axes may be given from the end: -1 is the innermost.
class View {
 public:
  View() = default;
  // Contiguous, row-major, at `offset` elements from the start of `buffer`.
  View(const Buffer* buffer, DType dtype, const Shape& shape, std::int64_t offset = 0);

  explicit operator bool() const { return buffer_ != nullptr; }
  const Buffer* buffer() const { return buffer_; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  std::int64_t extent(int axis) const { return shape_[resolve(axis)]; }
  std::int64_t stride(int axis) const { return strides_[resolve(axis)]; }
  std::int64_t offset() const { return offset_; }
  std::int64_t elements() const { return shape_.elements(); }
  bool contiguous() const;               // row-major without gaps
  bool contiguous_from(int axis) const;  // axes axis … innermost have no gaps among themselves

  View slice(int axis, std::int64_t begin, std::int64_t count) const;
  View select(int axis, std::int64_t index) const;                    // one index; the axis disappears
  View every(int axis, std::int64_t step, std::int64_t first) const;  // indices first, first + step, …
  View reversed(int axis) const;                                      // the axis is read backwards
  View transposed(int axis_a = -2, int axis_b = -1) const;
  View split(int axis, std::int64_t outer) const;  // [.., n, ..] → [.., outer, n/outer, ..]
  View merged(int axis) const;  // [.., a, b, ..] → [.., a·b, ..]; stride(a) = b·stride(b)
  View broadcast(int axis, std::int64_t count) const;  // new axis before `axis`, stride 0
  View reshaped(const Shape& shape) const;             // contiguous views only

  // The first element. CPU backends only; T must match dtype().
  template <class T>
  T* data() const {
    return static_cast<T*>(address());
  }

 private:
  int resolve(int axis) const { return axis < 0 ? axis + shape_.rank() : axis; }
  void* address() const;

  const Buffer* buffer_ = nullptr;
  DType dtype_ = DType::f32;
  std::int64_t offset_ = 0;
  Shape shape_;
  std::array<std::int64_t, kMaxRank> strides_{};
};

}  // namespace vretnet
