// Repeats, limits, memory: what is measured is what was done.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <thread>

#include "core/backends/available.h"
#include "core/measure/limits.h"
#include "core/measure/observed_backend.h"
#include "core/measure/process_memory.h"
#include "core/measure/processor_rates.h"
#include "core/measure/repeat.h"
#include "tests/support/sanitizers.h"

namespace vretnet::measure {
namespace {

TEST(Repeat, CountsAndTimes) {
  int runs = 0;
  const auto times = repeat([&] { ++runs; }, {.warm_up = 3, .repeats = 4, .seconds = 0});
  EXPECT_EQ(times.size(), 4u);
  EXPECT_EQ(runs, 7);
  const auto sleep = [] { std::this_thread::sleep_for(std::chrono::milliseconds(5)); };
  const auto long_enough = repeat(sleep, {.warm_up = 0, .repeats = 1, .seconds = 0.02});
  EXPECT_GE(long_enough.size(), 2u);
  EXPECT_LE(long_enough.size(), 4u);
  for (const double time : long_enough) EXPECT_GE(time, 0.005);
  EXPECT_EQ(repeat([] {}, {.warm_up = 0, .repeats = 1, .seconds = 1e9}).size(),
            static_cast<std::size_t>(kMostRepeats));
}

TEST(Repeat, StopsWhenAsked) {
  int runs = 0;
  const auto times = repeat([&] { ++runs; }, {.warm_up = 0, .repeats = 100}, [&] { return runs == 3; });
  EXPECT_EQ(times.size(), 3u);
}

// No processor of today does less or more than this with a thread.
TEST(Limits, RatesAreThoseOfAProcessor) {
  const double fma = fma_rate(1, 0.02), triad = triad_rate(768 << 10, 1, 0.02);
  EXPECT_GT(fma, 0.5e9);
  EXPECT_LT(fma, 2e12);
  EXPECT_GT(triad, 0.2e9);
  EXPECT_LT(triad, 5e12);
}

TEST(Limits, GemmStaysBelowTheMultiplyAdds) {
  const auto backend = make_backend("onednn", 1);
  const Limits limits = measure_limits(*backend, 1, 0.05);
  EXPECT_GT(limits.gemm_rate, 0.01 * limits.fma_rate);
  if (!testing::kSanitized) {
    EXPECT_LT(limits.gemm_rate, 1.3 * limits.fma_rate) << "1 but for a clock that changes";
  }
  EXPECT_EQ(limits.quantized_rate > 0, backend->favours_integers());
  ASSERT_EQ(limits.bandwidths.size(), 4u);
  EXPECT_GT(limits.bandwidths.front().rate, 0.8 * limits.memory_rate());
}

TEST(Limits, RooflineIsTheSlowerOfArithmeticAndMemory) {
  const Limits limits{.gemm_rate = 1000, .bandwidths = {{100, 50}, {1000, 10}}};
  EXPECT_DOUBLE_EQ(limits.least_seconds(40000, 9600), 960) << "at 10 bytes a second, not 40 s of arithmetic";
  EXPECT_DOUBLE_EQ(limits.least_seconds(40000, 120), 40) << "arithmetic, not 2.4 s of memory";
  EXPECT_DOUBLE_EQ(limits.least_seconds(24, 64), 64.0 / 50) << "64 bytes fit into the smallest cache";
  const Limits with_integers{.gemm_rate = 1000, .quantized_rate = 4000, .bandwidths = {{100, 50}}};
  EXPECT_DOUBLE_EQ(with_integers.least_seconds(40000, 10, true), 10);
  EXPECT_DOUBLE_EQ(with_integers.least_seconds(40000, 10), 40);
}

TEST(Limits, TheBetterOfTwoMeasurementsCounts) {
  Limits limits{.fma_rate = 3, .gemm_rate = 2, .bandwidths = {{100, 50}, {1000, 10}}};
  limits.improve({.fma_rate = 4, .gemm_rate = 1, .bandwidths = {{100, 40}, {1000, 20}}});
  EXPECT_EQ(limits.fma_rate, 4);
  EXPECT_EQ(limits.gemm_rate, 2);
  EXPECT_EQ(limits.bandwidths[0].rate, 50);
  EXPECT_EQ(limits.memory_rate(), 20);
}

TEST(Observed, CountsMemoryAndKeepsOps) {
  const auto real = make_backend("reference", 1);
  ObservedBackend observed(*real);
  const Allocation a(observed, DType::f32, {16, 16});
  {
    const Allocation b(observed, DType::f32, {64, 16});
    EXPECT_EQ(observed.bytes(), 4u * (256 + 1024));
  }
  EXPECT_EQ(observed.bytes(), 4u * 256);
  EXPECT_EQ(observed.peak_bytes(), 4u * (256 + 1024));

  const Allocation y(observed, DType::f32, {16, 16});
  const ops::Gemm product{.a = a.view(), .b = a.view(), .y = y.view()};
  observed.run(product);
  EXPECT_TRUE(observed.recorded().empty());
  observed.record(true);
  observed.run(product);
  observed.run(ops::Convert{.x = a.view(), .y = y.view()});
  observed.record(false);
  ASSERT_EQ(observed.recorded().size(), 2u);
  EXPECT_GT(products_rate(observed, observed.recorded(), 0.01), 1e6);
  EXPECT_EQ(products_rate(observed, std::span(observed.recorded()).subspan(1), 0.01), 0);
}

TEST(ProcessMemory, SeesWhatWasTouchedSinceTheNewPeak) {
  start_new_peak();
  const std::size_t before = peak_memory();
  constexpr std::size_t kBytes = 64 << 20;
  {
    const auto memory = std::make_unique<char[]>(kBytes);
    std::memset(memory.get(), 1, kBytes);
    volatile char seen = memory[kBytes / 2];
    EXPECT_EQ(seen, 1);
  }
  EXPECT_GT(peak_memory(), before + kBytes / 2);
  start_new_peak();
  if (peak_memory() > before + kBytes / 2) GTEST_SKIP() << "NOT RUN: this system keeps the first peak";
  EXPECT_LT(peak_memory(), before + kBytes / 2);
}

}  // namespace
}  // namespace vretnet::measure
