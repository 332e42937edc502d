// Memory for a view in a test, laid out as awkwardly as a model may: with gaps after the rows of every axis
// but the innermost two, or an axis read backwards. What is not an element is NaN, so that reading it shows
// in the result and writing it is found by `intact`.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "core/base/random.h"
#include "core/tensor/view.h"

namespace vretnet::testing {

struct Layout {
  std::int64_t gap = 0;  // elements between one token's values and the next token's
  bool reversed = false;
};

// visit(offset in elements) for each element of a view, row-major.
template <class Visit>
void for_each_offset(const View& view, const Visit& visit) {
  for (std::int64_t i = 0; i < view.elements(); ++i) {
    std::int64_t offset = view.offset(), rest = i;
    for (int axis = view.rank() - 1; axis >= 0; --axis) {
      offset += rest % view.extent(axis) * view.stride(axis);
      rest /= view.extent(axis);
    }
    visit(offset);
  }
}

template <class T>
class TestTensor {
 public:
  TestTensor() = default;  // not given: an empty view
  explicit TestTensor(const Shape& shape) : TestTensor(shape, Layout{}) {}
  // Axis 1 (tokens) of [batch, tokens, heads, d] is the one with gaps, and the one that is reversed.
  TestTensor(const Shape& shape, const Layout& layout) : memory_(std::make_unique<Memory>()) {
    Shape padded = shape;
    const bool awkward = layout.gap > 0 || layout.reversed;
    const std::int64_t inner = shape.rank() == 4 ? shape[2] * shape[3] : 0;
    if (awkward) padded = {shape[0], shape[1], inner + layout.gap};
    memory_->values.assign(padded.elements(), std::numeric_limits<T>::quiet_NaN());
    memory_->buffer = {memory_->values.data(), memory_->values.size() * sizeof(T)};
    view_ = View(&memory_->buffer, sizeof(T) == 4 ? DType::f32 : DType::f64, padded);
    if (awkward) view_ = view_.slice(2, layout.gap / 2, inner).split(2, shape[2]);
    if (layout.reversed) view_ = view_.reversed(1);
  }
  TestTensor(const Shape& shape, const Layout& layout, const std::vector<double>& values)
      : TestTensor(shape, layout) {
    set(values);
  }

  const View& view() const { return view_; }
  void set(const std::vector<double>& values) {
    std::size_t next = 0;
    for_each_offset(view_,
                    [&](std::int64_t offset) { memory_->values[offset] = static_cast<T>(values[next++]); });
  }
  std::vector<double> values() const {
    std::vector<double> values;
    if (view_)
      for_each_offset(view_, [&](std::int64_t offset) { values.push_back(memory_->values[offset]); });
    return values;
  }
  // Every element is a number and nothing beside the view was written.
  bool intact() const {
    if (!view_) return true;
    std::int64_t numbers = 0;
    for (T value : memory_->values) numbers += !std::isnan(value);
    for (double value : values()) numbers -= !std::isnan(value);
    for (double value : values())
      if (std::isnan(value)) return false;
    return numbers == 0;
  }

 private:
  struct Memory {
    std::vector<T> values;
    Buffer buffer;
  };
  std::unique_ptr<Memory> memory_;  // its address is stable: views point to it
  View view_;
};

inline std::vector<double> random_values(Random& random, const Shape& shape) {
  std::vector<double> values(shape.elements());
  for (double& value : values) value = random.uniform(-1, 1);
  return values;
}

// Rounded to T and back: what T can hold.
template <class T>
std::vector<double> rounded(std::vector<double> values) {
  for (double& value : values) value = static_cast<T>(value);
  return values;
}

// The largest |a − b| relative to the largest |b|; infinite for NaN or different sizes.
inline double worst_relative_error(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0, largest = std::numeric_limits<double>::min();
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i])) return INFINITY;
    worst = std::max(worst, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return worst / largest;
}

}  // namespace vretnet::testing
