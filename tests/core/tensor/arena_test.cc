#include "core/tensor/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "core/base/random.h"

namespace vretnet {
namespace {

TEST(Arena, MeasuresThePeakAndReusesWhatIsGivenBack) {
  Arena arena;
  Tensor a = arena.make(DType::f32, {16});
  Tensor b = arena.make(DType::f64, {8});
  EXPECT_EQ(arena.bytes_in_use(), 128u);
  a = Tensor();
  EXPECT_EQ(arena.bytes_in_use(), 64u);
  const Tensor c = arena.make(DType::f32, {10});
  EXPECT_EQ(c.view().offset(), 0) << "first fit takes the hole";
  EXPECT_EQ(arena.peak_bytes(), 128u);
}

TEST(Arena, CopiesShareTheirBlock) {
  Arena arena;
  Tensor a = arena.make(DType::f32, {4, 4});
  Tensor rows = a.with_view(a.view().slice(0, 1, 2));
  a = Tensor();
  EXPECT_EQ(arena.bytes_in_use(), 64u);
  Tensor moved = std::move(rows);
  EXPECT_EQ(moved.view().shape(), (Shape{2, 4}));
  moved = Tensor();
  EXPECT_EQ(arena.bytes_in_use(), 0u);
}

TEST(Arena, BorrowedViewsOwnNothing) {
  Buffer buffer;
  const Tensor borrowed = View(&buffer, DType::f32, {3});
  const Tensor copy = borrowed;
  EXPECT_TRUE(copy);
}

TEST(Arena, SaysWhatIsGivenBackAndWhen) {
  std::vector<char> memory(256);
  const Buffer buffer{memory.data(), memory.size()};
  std::vector<View> released;
  Arena arena(&buffer, [&](const View& bytes) { released.push_back(bytes); });
  const Tensor first = arena.make(DType::f32, {4});
  Tensor second = arena.make(DType::f64, {9});
  Tensor copy = second.with_view(second.view().slice(0, 3, 2));
  second = Tensor();
  EXPECT_TRUE(released.empty()) << "a copy still owns the block";
  copy = Tensor();
  ASSERT_EQ(released.size(), 1u);
  EXPECT_EQ(released[0].data<char>(), memory.data() + 64);
  EXPECT_EQ(released[0].dtype(), DType::s8);
  EXPECT_EQ(released[0].shape(), (Shape{128}));
}

// Random lives: blocks never overlap, the same calls give the same offsets, and the measured peak suffices.
TEST(Arena, WhatADryRunMeasuresIsEnough) {
  const auto live = [](Arena& arena, std::vector<std::int64_t>& offsets) {
    Random random(11);
    std::vector<Tensor> alive;
    for (int step = 0; step < 2000; ++step) {
      if (!alive.empty() && random.below(5) < 2) {
        std::swap(alive[random.below(alive.size())], alive.back());
        alive.pop_back();
        continue;
      }
      const Tensor made = arena.make(DType::f32, {static_cast<std::int64_t>(random.below(200))});
      offsets.push_back(made.view().offset());
      for (const Tensor& other : alive) {
        const bool before = made.view().offset() + made.view().elements() <= other.view().offset();
        const bool behind = other.view().offset() + other.view().elements() <= made.view().offset();
        ASSERT_TRUE(before || behind);
      }
      alive.push_back(made);
      if (alive.size() > 40) alive.erase(alive.begin(), alive.begin() + 20);
    }
  };
  std::vector<std::int64_t> measured, real;
  Arena dry;
  live(dry, measured);
  EXPECT_EQ(dry.bytes_in_use(), 0u);
  std::vector<char> memory(dry.peak_bytes());
  const Buffer buffer{memory.data(), memory.size()};
  Arena arena(&buffer);
  live(arena, real);
  EXPECT_EQ(measured, real);
  EXPECT_EQ(arena.peak_bytes(), dry.peak_bytes());
}

TEST(ArenaDeathTest, RunningOutStops) {
  const Buffer buffer{nullptr, 100};
  Arena arena(&buffer);
  const Tensor first = arena.make(DType::f32, {16});
  EXPECT_DEATH(arena.make(DType::f32, {16}), "holds 100 bytes");
}

}  // namespace
}  // namespace vretnet
