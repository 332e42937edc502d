// Training on several emulated GPUs: the numbers of one, the same weights on all, and what a missing wait
// does.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "core/base/error.h"
#include "core/training/saved_state.h"
#include "tests/emulation/tiny_machines.h"
#include "tests/support/usage_error.h"

namespace vretnet::training {
namespace {

using emulation::Runtime;
using emulation::StreamOrder;
using vretnet::testing::message_of;

class DataParallel : public OnTinyMachines {
 protected:
  static void expect_near(const std::vector<double>& losses, const std::vector<double>& expected,
                          double relative) {
    ASSERT_EQ(losses.size(), expected.size());
    for (std::size_t i = 0; i < losses.size(); ++i) {
      EXPECT_NEAR(losses[i], expected[i], relative * expected[i]) << "step " << i;
    }
  }
};

TEST_F(DataParallel, TwoDevicesHaveTheLossesOfOne) {
  for (const bool eager : {false, true}) {
    TinyMachines one({.eager = eager}), two({.devices = {0, 1}, .eager = eager});
    expect_near(two.losses(8), one.losses(8), 1e-6);
    EXPECT_NEAR(two.trainer->gradient_norm(), one.trainer->gradient_norm(),
                1e-5 * one.trainer->gradient_norm());
    EXPECT_EQ(two.trainer->position().images, one.trainer->position().images);
    EXPECT_EQ(two.trainer->position().correct, one.trainer->position().correct);
    EXPECT_EQ(two.state(0), two.state(1)) << "weights, moments and average on both";
  }
}

// Sums in another order differ in the last bits of f32, which may turn a weight to its neighbour in bf16.
TEST_F(DataParallel, InBf16BothDevicesHaveTheSameBits) {
  TinyMachines one({.dtype = DType::bf16}), two({.devices = {0, 1}, .dtype = DType::bf16});
  expect_near(two.losses(6), one.losses(6), 1e-3);
  EXPECT_EQ(two.state(0), two.state(1));
}

TEST_F(DataParallel, CapturedEqualsEagerBitForBit) {
  TinyMachines captured({.devices = {0, 1}}), eager({.devices = {0, 1}, .eager = true});
  const std::int64_t before = Runtime::get().graph_launches;
  EXPECT_EQ(captured.losses(5), eager.losses(5));
  EXPECT_EQ(Runtime::get().graph_launches - before, 2 * 4);
  EXPECT_EQ(captured.state(), eager.state());
}

// Batches of 4, 4 and 1: of the last one the first device has no image.
TEST_F(DataParallel, SharesShortBatchesAndSeveralAStep) {
  for (const auto& [accumulation, drop_path] : {std::pair(1, 0.0), std::pair(2, 0.0), std::pair(2, 0.5)}) {
    const TinyPlan plan{.samples = 9, .accumulation = accumulation, .drop_path = drop_path};
    TinyPlan both = plan;
    both.devices = {0, 1};
    TinyMachines one(plan), two(both);
    expect_near(two.losses(6), one.losses(6), 1e-6);
    EXPECT_EQ(two.trainer->position().images, one.trainer->position().images);
    EXPECT_EQ(two.state(0), two.state(1));
  }
}

TEST_F(DataParallel, ThreeDevices) {
  Runtime::get().model.devices = 3;
  TinyMachines one({.batch = 6}), three({.devices = {2, 0, 1}, .batch = 6});
  expect_near(three.losses(4), one.losses(4), 1e-6);
  EXPECT_EQ(three.state(0), three.state(1));
  EXPECT_EQ(three.state(0), three.state(2));
}

// Whichever stream goes first, the bits are the same.
TEST_F(DataParallel, TheOrderOfStreamsDoesNotMatter) {
  for (const bool eager : {false, true}) {
    std::vector<std::vector<float>> states;
    for (const StreamOrder order :
         {StreamOrder::random, StreamOrder::oldest_first, StreamOrder::newest_first}) {
      Runtime::get().stream_order = order;
      TinyMachines run({.devices = {0, 1}, .eager = eager});
      run.losses(4);
      states.push_back(run.state());
    }
    EXPECT_EQ(states[0], states[1]);
    EXPECT_EQ(states[0], states[2]);
  }
}

// ---------------------------------------------------------------------------------------- injected defects

// A stream that does not wait for an event: whose wait is lost, and which order shows it.
struct LostWait {
  const char* name;
  bool of_the_sums;  // the sums' stream does not wait for backward; else the optimizer not for the sums
  StreamOrder order;
  bool eager;
};
void PrintTo(const LostWait& lost, std::ostream* stream) {
  *stream << lost.name;
}
class LostWaits : public DataParallel, public ::testing::WithParamInterface<LostWait> {};

// Whether something was noticed: a violation, or weights that are not what they should be.
TEST_P(LostWaits, AreNoticed) {
  const TinyPlan plan{.devices = {0, 1}, .eager = GetParam().eager};
  TinyMachines right(plan);
  right.losses(4);
  Runtime& runtime = Runtime::get();
  runtime.stream_order = GetParam().order;
  bool noticed = false;
  {
    TinyMachines wrong(plan);
    // The streams of sums are the newest of each device.
    std::vector<cudaStream_t> sums(2);
    for (cudaStream_t stream : runtime.streams) sums[static_cast<std::size_t>(stream->device)] = stream;
    std::int64_t lost = 0;
    runtime.lost_wait = [&](cudaStream_t waiting, cudaEvent_t event) {
      const auto is_sum = [&](cudaStream_t stream) { return stream == sums[0] || stream == sums[1]; };
      const bool loses = is_sum(GetParam().of_the_sums ? waiting : event->stream);
      lost += loses;
      return loses;
    };
    try {
      wrong.losses(4);
      noticed = wrong.state(0) != right.state(0) || wrong.state(1) != right.state(0);
    } catch (const std::exception&) {  // NaN that was read too early, or what the runtime says
      noticed = true;
    }
    EXPECT_GT(lost, 0);
    runtime.lost_wait = {};
  }
  EXPECT_TRUE(noticed);
  emulation::reset();  // violations are among what was looked for
}

INSTANTIATE_TEST_SUITE_P(Injected, LostWaits,
                         ::testing::Values(LostWait{"the_sum_does_not_wait_for_backward", true,
                                                    StreamOrder::newest_first, true},
                                           LostWait{"the_optimizer_does_not_wait_for_the_sum", false,
                                                    StreamOrder::oldest_first, true},
                                           LostWait{"the_captured_sum_does_not_wait_for_backward", true,
                                                    StreamOrder::newest_first, false},
                                           LostWait{"the_captured_optimizer_does_not_wait_for_the_sum", false,
                                                    StreamOrder::oldest_first, false}),
                         [](const auto& each) { return each.param.name; });

// ------------------------------------------------------------------------------------------ resume, errors

TEST_F(DataParallel, ResumesOnAsManyDevicesWithTheSameBitsAndOnOneNearly) {
  const auto path = std::filesystem::temp_directory_path() / ("vretnet_parallel_" + std::to_string(getpid()));
  TinyMachines whole({.devices = {0, 1}});
  const std::vector<double> expected = whole.losses(8);
  TinyMachines first({.devices = {0, 1}});
  std::vector<double> begun = first.losses(4);
  save_state(path, *first.machines[0], *first.trainer, {});
  TinyMachines again({.devices = {0, 1}}), alone({});
  load_state(path, *again.machines[0], *again.trainer);
  EXPECT_EQ(again.state(0), again.state(1)) << "the second device has the state, too";
  std::vector<double> losses = begun;
  for (const double loss : again.losses(4)) losses.push_back(loss);
  EXPECT_EQ(losses, expected);
  EXPECT_EQ(again.state(0), whole.state(0));
  EXPECT_EQ(again.state(1), whole.state(0));
  load_state(path, *alone.machines[0], *alone.trainer);
  for (const double loss : alone.losses(4)) begun.push_back(loss);
  expect_near(begun, expected, 1e-6);
  std::filesystem::remove(path);
}

TEST_F(DataParallel, RefusesWhatCannotBeShared) {
  EXPECT_EQ(message_of([] {
              make_cuda_backends({0, 1, 0});
            }),
            "--device cuda:0,1,0: device 0 is named twice");
  EXPECT_EQ(message_of([] {
              make_cuda_backends({0, 2});
            }),
            "--device cuda:2: there are 2 GPUs, numbered from 0");
  EXPECT_EQ(message_of([] {
              TinyMachines({.devices = {0, 1}, .batch = 5});
            }),
            "--batch-size 5 is shared by 2 devices, of which it is no multiple: 4 or 6");
  Runtime::get().model.last_name = "emulated A100";
  EXPECT_EQ(message_of([] {
              make_cuda_backends({0, 1});
            }),
            "--device cuda:0,1: the devices must be of one kind: 0 is emulated H100, 1 is emulated A100");
}

// The images that a Session counts are a device's: `-b` is twice as many, the message says so, and that many
// fit.
TEST_F(DataParallel, TooLittleMemoryNamesTheWholeBatch) {
  const auto error_of = [](std::int64_t batch) -> std::string {
    try {
      TinyMachines run({.devices = {0, 1}, .samples = 2 * batch, .batch = batch});
      run.losses(2);
    } catch (const RunError& error) {
      return error.what();
    }
    return "";
  };
  Runtime::get().model.memory = std::size_t{35} << 20;  // 32 of them are cuBLASLt's
  const std::string message = error_of(2 * 600);
  EXPECT_NE(
      message.find("; this is one of 2 devices, and -b counts 2 times its images; 600 images at a time are "
                   "too many, "),
      std::string::npos)
      << message;
  const std::int64_t fits = std::stoll(message.substr(message.rfind(", ") + 2));
  EXPECT_GT(fits, 10);
  EXPECT_EQ(error_of(2 * fits), "") << message;
}

// A device that fails in the middle of a step does not leave the others waiting.
TEST_F(DataParallel, AFailureOnOneDeviceEndsTheRun) {
  class Failing : public Eager {
   public:
    using Eager::Eager;
    void run(const ops::Op& op) override {
      if (std::holds_alternative<ops::CrossEntropy>(op)) throw RunError("it failed");
      Eager::run(op);
    }
  };
  const auto owned = make_cuda_backends({0, 1});
  Failing failing(*owned[1]);
  const auto model = tiny_model();
  MemorySource source(24, 4, kPixels, kClasses);
  Backend* machines[] = {owned[0].get(), &failing};
  Trainer trainer(*model, machines, source, TrainingOptions{.epochs = 3});
  model::upload_values(*owned[0], trainer.weights(), model::initial_values(model->parameters(), 3));
  trainer.start_at({});
  try {
    trainer.step();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const RunError& error) {
    EXPECT_STREQ(error.what(), "it failed") << "not what the other device says of it";
  }
}

}  // namespace
}  // namespace vretnet::training
