// `vretnet bench --device cuda` on an emulated GPU: times by the device's own events, limits by its
// properties, the replayed graphs timed and their ops known.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>

#include "core/backends/cuda/cuda_backend.h"
#include "core/ops/decorator.h"
#include "tests/emulation/emulator.h"
#include "tests/emulation/fake/runtime.h"
#include "tools/bench_case.h"
#include "vision/registry.h"

// The machine that the program would make of its flags (tools/machine.cc) is the emulated one here.
namespace vretnet::tools {
std::unique_ptr<Backend> make_machine(const MachineFlags&) {
  return make_cuda_backend(0);
}
layers::Pass::Options pass_options(const MachineFlags&, layers::Mode mode) {
  return {.mode = mode};
}
}  // namespace vretnet::tools

namespace vretnet::tools {
namespace {

using emulation::Runtime;

BenchCase small_case(bool training) {
  BenchCase point{.model = "vretnet_pico_patch4_28"};
  point.config = vision::find_model_config(point.model);
  point.config.image_size = {16, 16};
  point.config.width = 32;
  point.config.depth = 1;
  point.config.heads = 2;
  point.machine.device = "cuda";
  point.batch = 2;
  point.training = training;
  return point;
}
const BenchSettings kQuick{.repeats = {.warm_up = 2, .repeats = 3, .seconds = 0.001}, .ops = OpRows::kinds};
constexpr auto kNeverStop = [] { return false; };

class EmulatedBench : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override { emulation::reset(); }
  void TearDown() override {
    for (const std::string& violation : emulation::violations()) ADD_FAILURE() << violation;
  }
};

TEST_P(EmulatedBench, TimesReplayedGraphsOnTheDevice) {
  const std::int64_t graphs = Runtime::get().graph_launches;
  const auto result = measure_case(small_case(GetParam()), kQuick, kNeverStop);
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->own_clock);
  // The first of them ran op by op, for the list of ops; the second was captured.
  EXPECT_EQ(Runtime::get().graph_launches - graphs, static_cast<std::int64_t>(2 + result->seconds.size()));
  EXPECT_GE(result->seconds.size(), 3u);
  for (const double seconds : result->seconds) EXPECT_GT(seconds, 0);
  EXPECT_GT(result->costs.size(), 10u);
  double flops = 0;
  std::size_t calls = 0;
  for (const OpRow& row : result->ops) {
    EXPECT_GT(row.seconds, 0) << row.op;
    calls += row.calls.size();
    for (const OpCost& call : row.calls) flops += call.flops;
  }
  EXPECT_EQ(calls, result->costs.size());
  EXPECT_DOUBLE_EQ(flops, result->flops);
  EXPECT_GT(result->products_rate, 0);
  EXPECT_GT(result->model_bytes, result->weights_bytes);
}
INSTANTIATE_TEST_SUITE_P(Modes, EmulatedBench, ::testing::Bool(),
                         [](const auto& each) { return each.param ? "train" : "inference"; });

TEST(EmulatedLimits, AreTheDevicesProperties) {
  const auto backend = make_cuda_backend(0);
  const measure::Limits limits = measure::measure_limits(*backend, 1, 0.001);
  ASSERT_TRUE(limits.promised);
  // An H100's: 132 multiprocessors, 128 lanes, 1.98 GHz; 5,120 bits at 2,619 MHz, twice a clock.
  const double flops = 132.0 * 128 * 2 * 1.98e9, bytes = 5120.0 / 8 * 2 * 2.619e9;
  EXPECT_DOUBLE_EQ(limits.fma_rate, flops);
  EXPECT_DOUBLE_EQ(limits.memory_rate(), bytes);
  EXPECT_GT(limits.gemm_rate, 0);
  EXPECT_LT(limits.gemm_rate, 0.1 * flops) << "no emulator is so fast";
  EXPECT_DOUBLE_EQ(limits.least_seconds(flops, 1), 1) << "against the device, not its measured products";
  EXPECT_DOUBLE_EQ(limits.least_seconds(1, 3 * bytes), 3);
}

// A host that is slow to notice that the device is done.
class LateHost : public BackendDecorator {
 public:
  using BackendDecorator::BackendDecorator;
  void synchronize() override {
    inner().synchronize();
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
  }
  double read_clock() override {
    const double seconds = inner().read_clock();
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    return seconds;
  }
};

// What the host does behind a run is not in its time, and how long it lets the device wait within one is.
TEST(EmulatedLimits, RepeatsAreTimedByTheMachine) {
  const auto backend = make_cuda_backend(0);
  LateHost machine(*backend);
  const Allocation x(machine, DType::f32, {64}), y(machine, DType::f32, {64});
  const auto add = [&] { machine.run(ops::Add{x.view(), y.view(), y.view()}); };
  measure::RepeatOptions options{.warm_up = 0, .repeats = 4, .seconds = 0, .machine = &machine};
  const auto least = [&](const std::function<void()>& run) {
    const auto times = measure::repeat(run, options);
    return *std::min_element(times.begin(), times.end());
  };
  EXPECT_LT(least(add), 0.02);
  EXPECT_GE(least([&] {
              std::this_thread::sleep_for(std::chrono::milliseconds(30));
              add();
            }),
            0.03)
      << "an idle device";
  options.machine = nullptr;
  EXPECT_GE(least([&] {
              add();
              machine.synchronize();
            }),
            0.03)
      << "the host's clock";
}

}  // namespace
}  // namespace vretnet::tools
