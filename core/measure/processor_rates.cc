#include "core/measure/processor_rates.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/measure/processor_rates.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h:
#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>

#include "core/measure/repeat.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::measure::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;
constexpr int kChains =
    12;  // as many as hide the latency of two units, and fit 16 registers with two factors

// Runs `rounds` of kChains multiply-adds. Gives their number of FLOPs; `result` keeps them from being left
// out.
double multiply_add(std::int64_t rounds, float* result) {
  const Floats d;
  const Vector x = hn::Set(d, *result), y = hn::Set(d, 0.5f);
  const auto from = [&](float value) HWY_ATTR { return hn::Mul(x, hn::Set(d, value)); };
  // Chains that differ, or the compiler would keep one for all.
  Vector s0 = from(0), s1 = from(1), s2 = from(2), s3 = from(3), s4 = from(4), s5 = from(5), s6 = from(6),
         s7 = from(7), s8 = from(8), s9 = from(9), s10 = from(10), s11 = from(11);
  for (std::int64_t i = 0; i < rounds; ++i) {
    s0 = hn::MulAdd(x, y, s0);
    s1 = hn::MulAdd(x, y, s1);
    s2 = hn::MulAdd(x, y, s2);
    s3 = hn::MulAdd(x, y, s3);
    s4 = hn::MulAdd(x, y, s4);
    s5 = hn::MulAdd(x, y, s5);
    s6 = hn::MulAdd(x, y, s6);
    s7 = hn::MulAdd(x, y, s7);
    s8 = hn::MulAdd(x, y, s8);
    s9 = hn::MulAdd(x, y, s9);
    s10 = hn::MulAdd(x, y, s10);
    s11 = hn::MulAdd(x, y, s11);
  }
  s0 = hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), hn::Add(hn::Add(s4, s5), hn::Add(s6, s7)));
  s0 = hn::Add(s0, hn::Add(hn::Add(s8, s9), hn::Add(s10, s11)));
  *result = hn::GetLane(hn::SumOfLanes(d, s0));
  return 2.0 * kChains * static_cast<double>(rounds) * static_cast<double>(hn::Lanes(d));
}

// x = y + 3 z, `count` a multiple of every vector's length.
void triad(float* x, const float* y, const float* z, std::int64_t count) {
  const Floats d;
  const Vector a = hn::Set(d, 3.0f);
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < count; i += lanes) {
    hn::Store(hn::MulAdd(a, hn::Load(d, z + i), hn::Load(d, y + i)), d, x + i);
  }
}

}  // namespace
}  // namespace vretnet::measure::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::measure {
HWY_EXPORT(multiply_add);
HWY_EXPORT(triad);
namespace {

constexpr std::int64_t kRounds = 500000;  // a few milliseconds
constexpr std::int64_t kFewest = 5;
constexpr std::int64_t kMultiple = 64;  // elements: whole cache lines and vectors
constexpr double kTouchedAtLeast =
    8 << 20;  // bytes in one measurement: starting the threads costs nothing then

double best_of(const std::function<void()>& run, double seconds) {
  const auto times = repeat(run, {.warm_up = 1, .repeats = kFewest, .seconds = seconds});
  return *std::min_element(times.begin(), times.end());
}

}  // namespace

double fma_rate(int threads, double seconds) {
  static std::atomic<float> sink;
  std::atomic<double> flops = 0;  // of the last run
  const double best = best_of(
      [&] {
        double sum = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
        {
          float result = 1;
          sum += HWY_DYNAMIC_DISPATCH(multiply_add)(kRounds, &result);
          sink = result;
        }
        flops = sum;
      },
      seconds);
  return flops / best;
}

double triad_rate(double bytes, int threads, double seconds) {
  const auto part = static_cast<std::int64_t>(bytes / (3 * sizeof(float) * threads)) / kMultiple * kMultiple;
  const auto count = static_cast<std::size_t>(part * threads);
  const auto x = hwy::AllocateAligned<float>(count), y = hwy::AllocateAligned<float>(count),
             z = hwy::AllocateAligned<float>(count);
  const double touched = 3.0 * sizeof(float) * static_cast<double>(count);
  const int passes = std::max(1, static_cast<int>(kTouchedAtLeast / touched));
  const auto run = [&](bool first) {
#pragma omp parallel num_threads(threads)
    {
      const std::int64_t begin = part * omp_get_thread_num();
      if (first) {  // pages belong to the thread that uses them
        std::fill_n(x.get() + begin, part, 0.0f);
        std::fill_n(y.get() + begin, part, 1.0f);
        std::fill_n(z.get() + begin, part, 2.0f);
      }
      for (int pass = 0; pass < passes; ++pass) {
        HWY_DYNAMIC_DISPATCH(triad)(x.get() + begin, y.get() + begin, z.get() + begin, part);
      }
    }
  };
  run(true);
  return passes * touched / best_of([&] { run(false); }, seconds);
}

}  // namespace vretnet::measure
#endif  // HWY_ONCE
