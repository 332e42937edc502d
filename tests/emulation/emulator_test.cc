// The emulator itself: barriers, shuffles, schedules, and what it must notice.
#include "tests/emulation/emulator.h"

#include <gpu.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/emulation/hidden_memory.h"
#include "tests/emulation/schedules.h"

namespace vretnet::emulation {
namespace {

class Emulator : public ::testing::TestWithParam<Schedule> {
 protected:
  void SetUp() override {
    reset();
    set_schedule(GetParam());
  }
  void TearDown() override {
    set_schedule({});
    reset();
  }
  static void run(unsigned blocks, unsigned threads, std::size_t floats, const std::function<void()>& body) {
    run_grid({{blocks}, {threads}, floats * sizeof(float)}, body);
  }
  static bool noted(const std::string& text) {
    return !violations().empty() && violations()[0].find(text) != std::string::npos;
  }
};

TEST_P(Emulator, RunsEveryThreadOnce) {
  std::vector<int> count(3 * 64);
  run(3, 64, 0, [&] { ++count[blockIdx.x * 64 + threadIdx.x]; });
  EXPECT_EQ(count, std::vector<int>(3 * 64, 1));
  EXPECT_TRUE(violations().empty());
}

TEST_P(Emulator, SetsThreeDimensions) {
  std::vector<int> count(2 * 3 * 2 * 64);
  run_grid({{2, 3, 2}, {8, 4, 2}, 0}, [&] {
    const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    ++count[block * 64 + thread];
  });
  EXPECT_EQ(count, std::vector<int>(count.size(), 1));
}

// What a thread writes before a barrier all others see behind it; twice, so that no barrier is taken for
// another.
TEST_P(Emulator, ABarrierHoldsAll) {
  std::vector<float> sums(128);
  run(1, 128, 128, [&] {
    float* shared = shared_memory();
    for (int round = 1; round <= 2; ++round) {
      shared[threadIdx.x] = static_cast<float>(round * threadIdx.x);
      __syncthreads();
      float sum = 0;
      for (int i = 0; i < 128; ++i) sum += shared[i];
      sums[threadIdx.x] += sum;
      __syncthreads();
    }
  });
  for (const float sum : sums) EXPECT_EQ(sum, 3 * 127 * 64);
}

TEST_P(Emulator, ShufflesWithinAWarp) {
  std::vector<float> sums(96);
  run(1, 96, 0, [&] {
    float value = static_cast<float>(threadIdx.x);
    for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffu, value, lanes);
    sums[threadIdx.x] = value + __shfl_sync(0xffffffffu, value, 5);
  });
  for (int i = 0; i < 96; ++i) EXPECT_EQ(sums[i], 2 * (31 * 16 + 32 * (i / 32 * 32)));
}

TEST_P(Emulator, SharedMemoryIsPoisonBeforeEveryBlock) {
  int numbers = 0;
  run(4, 32, 32, [&] {
    numbers += !std::isnan(shared_memory()[threadIdx.x]);
    shared_memory()[threadIdx.x] = 1;
  });
  EXPECT_EQ(numbers, 0);
}

TEST_P(Emulator, NoticesAThreadThatLeavesBeforeABarrier) {
  run(1, 64, 0, [] {
    if (threadIdx.x == 7) return;
    __syncthreads();
  });
  EXPECT_TRUE(noted("a barrier that not all threads reach"));
}

TEST_P(Emulator, NoticesHalfAWarpInAShuffle) {
  run(1, 32, 0, [] {
    if (threadIdx.x < 16) __shfl_xor_sync(0xffffffffu, 1.0f, 1);
  });
  EXPECT_TRUE(noted("a barrier that not all threads reach"));
  reset();
  run(1, 32, 0, [] { __syncwarp(0xffff); });
  EXPECT_TRUE(noted("mask"));
}

TEST_P(Emulator, NoticesWritesBesideSharedMemory) {
  for (const int place : {-1, 32}) {
    reset();
    const auto write = [&] { run(1, 32, 32, [&] { shared_memory()[threadIdx.x == 3 ? place : 0] = 1; }); };
    if (kHidesMemory) {
      EXPECT_DEATH(write(), "use-after-poison") << place;
    } else {
      write();
      EXPECT_TRUE(noted("shared memory was written")) << place;
    }
  }
}

TEST_P(Emulator, NoticesMisalignedVectors) {
  run(1, 32, 16, [] { cuda::store4(shared_memory() + 1, {}); });
  EXPECT_TRUE(noted("misaligned"));
}

INSTANTIATE_TEST_SUITE_P(Schedules, Emulator, ::testing::ValuesIn(kSchedules),
                         [](const auto& each) { return text_of(each.param); });

TEST(Schedules, DifferInTheOrderOfThreads) {
  std::vector<std::vector<unsigned>> orders;
  for (const Schedule& each : kSchedules) {
    set_schedule(each);
    std::vector<unsigned> order;
    run_grid({{1}, {64}, 0}, [&] { order.push_back(threadIdx.x); });
    orders.push_back(order);
  }
  set_schedule({});
  for (std::size_t i = 0; i < orders.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(orders[i], orders[j]);
  }
}

}  // namespace
}  // namespace vretnet::emulation
