#include "core/tensor/view.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace vretnet {
namespace {

// A view of 0, 1, 2, … in floats.
class Views : public ::testing::Test {
 protected:
  View counting(const Shape& shape) {
    values_.resize(static_cast<std::size_t>(shape.elements()));
    std::iota(values_.begin(), values_.end(), 0.0f);
    buffer_ = {values_.data(), values_.size() * sizeof(float)};
    return View(&buffer_, DType::f32, shape);
  }
  static float at(const View& view, std::initializer_list<std::int64_t> index) {
    std::int64_t offset = 0;
    int axis = 0;
    for (std::int64_t i : index) offset += i * view.stride(axis++);
    return view.data<float>()[offset];
  }

  std::vector<float> values_;
  Buffer buffer_;
};

TEST_F(Views, AreRowMajor) {
  const View view = counting({2, 3, 4});
  EXPECT_TRUE(view.contiguous());
  EXPECT_EQ(view.elements(), 24);
  EXPECT_EQ(at(view, {1, 2, 3}), 23);
  EXPECT_EQ(view.extent(-1), 4);
  EXPECT_EQ(view.shape().text(), "[2, 3, 4]");
  EXPECT_FALSE(View());
}

TEST_F(Views, SliceSelectReverse) {
  const View view = counting({2, 3, 4});
  const View slice = view.slice(1, 1, 2);
  EXPECT_EQ(slice.shape(), (Shape{2, 2, 4}));
  EXPECT_EQ(at(slice, {1, 0, 0}), 16);
  EXPECT_FALSE(slice.contiguous());
  EXPECT_TRUE(slice.contiguous_from(1));
  const View selected = view.select(1, 2);
  EXPECT_EQ(selected.shape(), (Shape{2, 4}));
  EXPECT_EQ(at(selected, {1, 3}), 23);
  const View reversed = view.reversed(1);
  EXPECT_EQ(at(reversed, {0, 0, 0}), 8);
  EXPECT_EQ(at(reversed.reversed(1), {1, 2, 3}), 23);
  EXPECT_EQ(at(reversed.slice(1, 1, 2), {0, 1, 0}), 0);
  const View even = view.every(2, 2, 0), odd = view.every(2, 2, 1);
  EXPECT_EQ(even.shape(), (Shape{2, 3, 2}));
  EXPECT_EQ(at(even, {1, 2, 1}), 22);
  EXPECT_EQ(at(odd, {1, 2, 1}), 23);
  EXPECT_EQ(view.every(1, 2, 0).extent(1), 2);  // rows 0 and 2
  EXPECT_EQ(view.every(1, 2, 1).extent(1), 1);
}

TEST_F(Views, TransposeSplitMergeBroadcast) {
  const View view = counting({4, 6});
  EXPECT_EQ(at(view.transposed(), {5, 3}), 23);
  const View heads = view.split(1, 3);
  EXPECT_EQ(heads.shape(), (Shape{4, 3, 2}));
  EXPECT_EQ(at(heads, {3, 1, 1}), 21);
  EXPECT_EQ(at(heads.transposed(0, 1), {1, 3, 1}), 21);
  EXPECT_EQ(heads.merged(1).shape(), view.shape());
  EXPECT_EQ(heads.merged(0).shape(), (Shape{12, 2}));
  const View broadcast = view.broadcast(0, 5);
  EXPECT_EQ(broadcast.shape(), (Shape{5, 4, 6}));
  EXPECT_EQ(at(broadcast, {4, 3, 5}), 23);
  EXPECT_EQ(view.broadcast(-1, 2).shape(), (Shape{4, 6, 2}));
  EXPECT_EQ(view.reshaped({2, 12}).shape(), (Shape{2, 12}));
}

TEST_F(Views, EmptyBatches) {
  Buffer buffer;
  const View view(&buffer, DType::f64, {0, 3, 4});
  EXPECT_EQ(view.elements(), 0);
  EXPECT_TRUE(view.contiguous());
  EXPECT_EQ(view.reversed(0).elements(), 0);
  EXPECT_EQ(view.merged(0).shape(), (Shape{0, 4}));
}

using ViewsDeathTest = Views;

TEST_F(ViewsDeathTest, BrokenPromisesStop) {
  const View view = counting({4, 6});
  EXPECT_DEATH(static_cast<void>(view.slice(0, 3, 2)), "slice 3\\+2");
  EXPECT_DEATH(static_cast<void>(view.split(1, 4)), "into 4 parts");
  EXPECT_DEATH(static_cast<void>(view.slice(1, 0, 3).merged(0)), "one after the other");
  EXPECT_DEATH(static_cast<void>(view.transposed().reshaped({24})), "contiguous");
  EXPECT_DEATH(static_cast<void>(view.reshaped({5, 5})), "as many elements");
  Buffer unbacked;
  EXPECT_DEATH(static_cast<void>(View(&unbacked, DType::f32, {2}).data<float>()), "without memory");
}

}  // namespace
}  // namespace vretnet
