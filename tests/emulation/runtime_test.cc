// The fake runtime: streams, events, graphs and memory as CUDA has them, and what it must notice.
#include "tests/emulation/fake/runtime.h"

#include <fmt/format.h>
#include <gpu.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <set>
#include <thread>

#include "core/backends/cuda/cuda_backend.h"
#include "core/backends/cuda/device.h"
#include "core/backends/cuda/launch.h"
#include "core/base/error.h"
#include "core/ops/decorator.h"
#include "core/ops/ops.h"
#include "core/ops/profiled_backend.h"
#include "tests/emulation/emulator.h"
#include "tests/emulation/hidden_memory.h"

namespace vretnet::emulation {
namespace {

using cuda::Event;
using cuda::launch;
using cuda::Stream;

void add_one(float* x) {
  if (threadIdx.x == 0) *x += 1;
}
void twice(float* x) {
  if (threadIdx.x == 0) *x *= 2;
}

// A number on the device, and in pinned memory.
struct Number {
  float *device = nullptr, *host = nullptr;
  Number() {
    cudaMalloc(reinterpret_cast<void**>(&device), sizeof(float));
    cudaMallocHost(reinterpret_cast<void**>(&host), sizeof(float));
  }
  ~Number() {
    cudaFree(device);
    cudaFreeHost(host);
  }
  void up(const Stream& stream, float value) {
    *host = value;
    cudaMemcpyAsync(device, host, sizeof(float), cudaMemcpyHostToDevice, stream.get());
  }
  float down(const Stream& stream) {
    cudaMemcpyAsync(host, device, sizeof(float), cudaMemcpyDeviceToHost, stream.get());
    cudaStreamSynchronize(stream.get());
    return *host;
  }
};

class FakeRuntime : public ::testing::Test {
 protected:
  void SetUp() override {
    reset();
    model_ = Runtime::get().model;
    cudaSetDevice(0);
  }
  void TearDown() override {
    Runtime::get().model = model_;
    cudaSetDevice(0);
    reset();
  }
  static void expect_violation(const std::string& text) {
    ASSERT_FALSE(violations().empty()) << text;
    EXPECT_NE(violations()[0].find(text), std::string::npos) << violations()[0];
  }
  static std::string error_of(const std::function<void()>& work) {
    try {
      work();
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  }
  MachineModel model_;
};

TEST_F(FakeRuntime, AStreamIsInOrderAndWaitsForTheHost) {
  Stream stream;
  Number x;
  x.up(stream, 3);
  launch(add_one, {.grid = {1}, .block = {32}, .stream = stream.get()}, x.device);
  launch(twice, {.grid = {1}, .block = {32}, .stream = stream.get()}, x.device);
  EXPECT_TRUE(std::isnan(*x.device)) << "nothing runs before somebody waits for it";
  EXPECT_EQ(x.down(stream), 8);
}

// Without the wait both orders happen; with it only one.
TEST_F(FakeRuntime, AMissingWaitShows) {
  for (const bool waits : {false, true}) {
    std::set<float> results;
    for (int i = 0; i < 40; ++i) {
      Stream first, second;
      Event done;
      Number x;
      x.up(first, 3);
      cudaStreamSynchronize(first.get());
      launch(add_one, {.grid = {1}, .block = {32}, .stream = first.get()}, x.device);
      done.record(first);
      if (waits) done.make_wait(second);
      launch(twice, {.grid = {1}, .block = {32}, .stream = second.get()}, x.device);
      cudaStreamSynchronize(first.get());
      results.insert(x.down(second));
    }
    EXPECT_EQ(results, waits ? std::set<float>{8} : (std::set<float>{7, 8}));
  }
}

TEST_F(FakeRuntime, AGraphRunsWhatWasCapturedAsOftenAsItIsLaunched) {
  Stream stream, other;
  Event forked, joined;
  Number x, y;
  x.up(stream, 1), y.up(stream, 1);
  stream.synchronize();
  ASSERT_EQ(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), cudaSuccess);
  launch(add_one, {.grid = {1}, .block = {32}, .stream = stream.get()}, x.device);
  forked.record(stream);
  forked.make_wait(other);
  launch(add_one, {.grid = {1}, .block = {32}, .stream = other.get()}, y.device);
  launch(twice, {.grid = {1}, .block = {32}, .stream = stream.get()}, x.device);
  joined.record(other);
  joined.make_wait(stream);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream.get(), &graph), cudaSuccess);
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  EXPECT_EQ(x.down(stream), 1) << "capturing runs nothing";
  for (int i = 0; i < 2; ++i) cudaGraphLaunch(executable, stream.get());
  EXPECT_EQ(x.down(stream), 10);
  EXPECT_EQ(y.down(stream), 3);
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

TEST_F(FakeRuntime, RefusesInACapture) {
  Stream stream;
  cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal);
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 4), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaStreamSynchronize(stream.get()), cudaErrorStreamCaptureUnsupported);
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream.get(), &graph);
  cudaGraphDestroy(graph);
  expect_violation("while a graph is captured");
}

TEST_F(FakeRuntime, NoticesCapturedWorkThatNobodyWaitsFor) {
  Stream stream, other;
  Event forked;
  Number x;
  cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal);
  forked.record(stream);
  forked.make_wait(other);
  launch(add_one, {.grid = {1}, .block = {32}, .stream = other.get()}, x.device);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream.get(), &graph), cudaErrorStreamCaptureUnjoined);
  cudaGraphDestroy(graph);
}

TEST_F(FakeRuntime, ChecksLaunchesAgainstTheDevice) {
  Stream stream;
  Number x;
  const auto refused = [&](const cuda::Launch& shape) {
    const bool threw = !error_of([&] { launch(add_one, shape, x.device); }).empty();
    cudaGetLastError();
    return threw;
  };
  EXPECT_TRUE(refused({.grid = {1}, .block = {1056}, .stream = stream.get()}));
  EXPECT_TRUE(refused({.grid = {1, 70000}, .block = {32}, .stream = stream.get()}));
  EXPECT_TRUE(refused({.grid = {1}, .block = {32}, .stream = nullptr}));
  // More than 48 KiB of shared memory need an attribute, which launch sets.
  cudaLaunchConfig_t config{};
  config.gridDim = {1}, config.blockDim = {32}, config.stream = stream.get();
  config.dynamicSmemBytes = 100 << 10;
  void* argument = &x.device;
  const void* kernel = reinterpret_cast<const void*>(&add_one);
  EXPECT_NE(cudaLaunchKernelExC(&config, kernel, &argument), cudaSuccess);
  cudaGetLastError();
  EXPECT_TRUE(refused({.grid = {1}, .block = {32}, .stream = stream.get(), .shared_bytes = 300 << 10}));
  EXPECT_FALSE(refused({.grid = {1}, .block = {32}, .stream = stream.get(), .shared_bytes = 100 << 10}));
  EXPECT_EQ(cudaLaunchKernelExC(&config, kernel, &argument), cudaSuccess);
  // Taken back while launches wait, as those of a graph do.
  EXPECT_EQ(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 50 << 10), cudaSuccess);
  EXPECT_NE(cudaStreamSynchronize(stream.get()), cudaSuccess);
  ASSERT_FALSE(violations().empty());
  EXPECT_NE(violations().back().find("less shared memory than it was launched with"), std::string::npos)
      << violations().back();
}

TEST_F(FakeRuntime, NoticesWritesBesideABlock) {
  Number x;
  if (kHidesMemory) {
    EXPECT_DEATH(x.device[1] = 3, "use-after-poison");
    EXPECT_DEATH(*x.device = x.device[-1], "use-after-poison") << "and reads, there";
    return;
  }
  x.device[1] = 3;
  cudaFree(x.device);
  x.device = nullptr;
  expect_violation("written outside a block");
}

TEST_F(FakeRuntime, NoticesCopiesOutsideMemory) {
  Stream stream;
  Number x;
  cudaMemcpyAsync(x.device, x.host, 8, cudaMemcpyHostToDevice, stream.get());
  expect_violation("outside the memory");
  EXPECT_NE(cudaStreamSynchronize(stream.get()), cudaSuccess) << "and every later wait fails";
}

TEST_F(FakeRuntime, NoticesAStreamOfAnotherDevice) {
  Stream stream;
  Number x;
  cudaSetDevice(1);
  x.up(stream, 1);
  expect_violation("on a stream of device 0");
}

// ---------------------------------------------------------------- what the backend says where it cannot run

TEST_F(FakeRuntime, BackendNamesWhatIsMissing) {
  const auto error = [&](const std::function<void(MachineModel&)>& change, int device = 0) {
    Runtime::get().model = model_;
    change(Runtime::get().model);
    return error_of([&] { make_cuda_backend(device); });
  };
  EXPECT_EQ(error([](MachineModel& m) { m.driver = false; }),
            "--device cuda: there is no NVIDIA driver; one for CUDA 13.0 or later is needed");
  EXPECT_EQ(error([](MachineModel& m) { m.driver_version = 12040; }),
            "--device cuda: the NVIDIA driver is for CUDA 12.4; one for CUDA 13.0 or later is needed");
  EXPECT_EQ(
      error([](MachineModel& m) { m.devices = 0; }),
      "--device cuda: the NVIDIA driver finds no GPU; one of compute capability 8.0 or later is needed");
  EXPECT_EQ(error([](MachineModel&) {}, 2), "--device cuda:2: there are 2 GPUs, numbered from 0");
  EXPECT_EQ(error([](MachineModel& m) { m.major = 7, m.minor = 5; }),
            "--device cuda:0: emulated H100 has compute capability 7.5; 8.0 or later (A100, H100, RTX 30 …) "
            "is needed");
}

TEST_F(FakeRuntime, BackendSaysHowMuchIsFree) {
  Runtime::get().model.memory = std::size_t{64} << 20;
  const std::unique_ptr<Backend> backend = make_cuda_backend(0);
  try {
    backend->allocate(std::size_t{64} << 20);
    ADD_FAILURE() << "there was memory";
  } catch (const OutOfMemory& error) {
    EXPECT_STREQ(error.what(),
                 "emulated H100 has too little memory: 64.0 MiB were asked for, 31.9 of 64.0 MiB are free");
    EXPECT_EQ(error.free, (std::size_t{32} << 20) - (std::size_t{128} << 10)) << "cuBLASLt's and staging's";
  }
  backend->release(backend->allocate(1 << 20));
}

// A GPU that another job has filled: the first thing that the backend takes says so, and nothing is lost.
TEST_F(FakeRuntime, BackendSaysHowMuchIsFreeWhenItStarts) {
  const auto error = [&](std::size_t memory) -> std::string {
    Runtime::get().model.memory = memory;
    try {
      make_cuda_backend(0);
    } catch (const OutOfMemory& of_memory) {
      EXPECT_EQ(of_memory.free, memory - (memory >> 25 << 25));
      return of_memory.what();
    }
    return "no error";
  };
  EXPECT_EQ(
      error(std::size_t{20} << 20),
      "emulated H100 has too little memory: 32.0 MiB were asked for by cuBLASLt, 20.0 of 20.0 MiB are free");
  EXPECT_EQ(error((std::size_t{32} << 20) + (32 << 10)),
            "emulated H100 has too little memory: 0.1 MiB were asked for by an upload's buffer, 0.0 of 32.0 "
            "MiB are "
            "free");
  EXPECT_EQ(Runtime::get().used(0), 0u);
  EXPECT_EQ(error((std::size_t{32} << 20) + (128 << 10)), "no error");
}

// Heads whose tiles no block has room for, one after the other of the ops that hold whole rows of them.
TEST_F(FakeRuntime, BackendNamesHeadsThatAreTooWide) {
  const std::unique_ptr<Backend> backend = make_cuda_backend(0);
  constexpr std::int64_t kTokens = 32;
  const auto errors = [&](std::int64_t width) {
    const Shape shape{1, kTokens, 1, width};
    std::vector<Allocation> owned;
    const auto values = [&] { return owned.emplace_back(*backend, DType::f32, shape).view(); };
    const View q = values(), k = values(), v = values(), o = values(), d_o = values(), d_q = values(),
               d_k = values(), d_v = values();
    const Allocation sums(*backend, DType::f32, {1, 1, kTokens}), gamma(*backend, DType::f32, {1}),
        workspace(*backend, DType::f32, {1 << 16});
    const ops::RetentionPattern pattern{.form = ops::RetentionForm::recurrent};
    const ops::DecayTables tables{.gamma = gamma.view()};
    std::vector<std::string> texts;
    for (ops::Op op :
         {ops::Op(ops::Retention{.q = q, .k = k, .v = v, .o = o, .tables = tables, .pattern = pattern}),
          ops::Op(ops::RetentionGradient{.q = q,
          .k = k,
          .v = v,
          .d_o = d_o,
          .d_q = d_q,
          .d_k = d_k,
          .d_v = d_v,
          .tables = tables,
          .pattern = pattern}),
          ops::Op(ops::RetentionBlock{.q = q, .k = k, .v = v, .y = o, .tables = tables, .pattern = pattern}),
          ops::Op(ops::Attention{.q = q, .k = k, .v = v, .o = o, .log_sum_exp = sums.view()}),
          ops::Op(ops::AttentionGradient{.q = q,
          .k = k,
          .v = v,
          .o = o,
          .log_sum_exp = sums.view(),
          .d_o = d_o,
          .d_q = d_q,
          .d_k = d_k,
          .d_v = d_v})}) {
      set_workspace(op, workspace.view());
      texts.push_back(error_of([&] { backend->run(op); }));
      backend->synchronize();
    }
    return texts;
  };
  const auto text = [](const char* op, int width, const char* needed, const char* given) {
    return fmt::format(
        "--device cuda: {} with heads of {} values needs {} KiB of shared memory a block, of which emulated "
        "H100 "
        "gives {}; a model of the same width with more heads (--heads) has narrower ones",
        op, width, needed, given);
  };
  const std::string none;
  EXPECT_EQ(errors(424), std::vector<std::string>(5));
  EXPECT_EQ(errors(428),
            (std::vector<std::string>{text("Retention", 428, "228.2", "227.0"),
                                      text("RetentionGradient", 428, "228.2", "227.0"),
                                      text("RetentionBlock", 428, "228.2", "227.0"), none, none}));
  EXPECT_EQ(errors(432).back(), text("AttentionGradient", 432, "228.8", "227.0"));
  Runtime::get().model.shared = 99 << 10;  // of an RTX 30 or 40
  EXPECT_EQ(errors(168), std::vector<std::string>(5));
  EXPECT_EQ(errors(176), (std::vector<std::string>{text("Retention", 176, "101.2", "99.0"),
                                                   text("RetentionGradient", 176, "101.2", "99.0"),
                                                   text("RetentionBlock", 176, "101.2", "99.0"), none,
                                                   text("AttentionGradient", 176, "100.8", "99.0")}));
  EXPECT_EQ(errors(392)[3], text("Attention", 392, "110.9", "99.0"));
}

constexpr auto kSleep = std::chrono::milliseconds(150);
constexpr double kSlept = 0.15, kBrief = 0.1;  // seconds: of a sleep, and of what has none in it

// As a GPU's events: a stream that has nothing to do reaches one as soon as it is recorded, another does when
// its work is done, whenever the host looks.
TEST_F(FakeRuntime, EventsTellTheTimeOfTheDevice) {
  Stream stream, other;
  Number x;
  x.up(stream, 1);
  stream.synchronize();
  Event start{cudaEventDefault}, idle{cudaEventDefault}, end{cudaEventDefault}, waited{cudaEventDefault};
  start.record(stream);
  std::this_thread::sleep_for(kSleep);
  idle.record(stream);
  launch(add_one, {.grid = {1}, .block = {32}, .stream = stream.get()}, x.device);
  end.record(stream);
  end.make_wait(other);
  waited.record(other);
  std::this_thread::sleep_for(kSleep);
  other.synchronize();
  EXPECT_GE(idle.seconds_since(start), kSlept) << "nothing ran, but the time went by";
  EXPECT_GT(end.seconds_since(idle), 0);
  EXPECT_LT(end.seconds_since(idle), kBrief) << "the host slept behind it";
  EXPECT_GE(waited.seconds_since(end), 0);
  EXPECT_LT(waited.seconds_since(end), kBrief);
}

// A host that is slow to notice that the device is done.
class SlowToWake : public BackendDecorator {
 public:
  using BackendDecorator::BackendDecorator;
  void synchronize() override {
    inner().synchronize();
    std::this_thread::sleep_for(kSleep);
  }
  double read_clock() override {
    const double seconds = inner().read_clock();
    std::this_thread::sleep_for(kSleep);
    return seconds;
  }
};

TEST_F(FakeRuntime, BackendHasAClockOfItsOwn) {
  const std::unique_ptr<Backend> backend = make_cuda_backend(0);
  const Allocation x(*backend, DType::f32, {1 << 12}), y(*backend, DType::f32, {1 << 12});
  ASSERT_TRUE(backend->has_clock());
  const auto add = [&](Backend& machine) { machine.run(ops::Add{x.view(), y.view(), y.view()}); };
  backend->synchronize();
  backend->start_clock();
  std::this_thread::sleep_for(kSleep);
  add(*backend);
  EXPECT_GE(backend->read_clock(), kSlept) << "a device that waits for the host";
  SlowToWake slow(*backend);
  ProfiledBackend profiled(slow);
  for (int i = 0; i < 3; ++i) add(profiled);
  ASSERT_EQ(profiled.profile().size(), 1u);
  EXPECT_GT(profiled.profile()[0].seconds, 0);
  EXPECT_LT(profiled.profile()[0].seconds, kBrief) << "a profile ends when the device is done";
  EXPECT_NEAR(backend->peaks().flops, 66.9e12, 0.1e12) << "an H100";
  EXPECT_NEAR(backend->peaks().bytes, 3.35e12, 0.01e12);
}

// An upload's host memory is the caller's again at once; uploads larger than a slot go in pieces, in order.
TEST_F(FakeRuntime, UploadsAreInOrderWithOps) {
  const std::unique_ptr<Backend> backend = make_cuda_backend(0);
  const std::int64_t count = 3000;
  const Allocation x(*backend, DType::f32, {count}), sum(*backend, DType::f32, {count});
  std::vector<float> host(count);
  for (int round = 1; round <= 5; ++round) {
    std::fill(host.begin(), host.end(), static_cast<float>(round));
    backend->upload(x.view(), host.data());
    std::fill(host.begin(), host.end(), NAN);
    backend->run(ops::Add{x.view(), sum.view(), sum.view()});
  }
  backend->download(sum.view(), host.data());
  EXPECT_EQ(host, std::vector<float>(count, 15));
}

}  // namespace
}  // namespace vretnet::emulation
