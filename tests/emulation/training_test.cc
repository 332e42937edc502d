// Whole training steps on the emulated CUDA backend: losses of the reference, checkpoints that go back and
// forth.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>

#include "core/backends/cuda/cuda_backend.h"
#include "core/training/saved_state.h"
#include "tests/core/training/support.h"
#include "tests/emulation/fake/runtime.h"
#include "tests/emulation/schedules.h"
#include "tests/emulation/tiny_machines.h"
#include "vision/registry.h"

namespace vretnet::training {
namespace {

namespace emulation = vretnet::emulation;

struct Variant {
  const char* name;
  const char* model;
  vision::Scan scan;
  bool learned_decay = false;
};
void PrintTo(const Variant& variant, std::ostream* stream) {
  *stream << variant.name;
}

constexpr double kBoundInBf16 = 0.002;  // of a loss, relative
constexpr std::int64_t kClasses10 = 10, kBatch = 2, kSide = 28;

std::unique_ptr<vision::VisionModel> make_pico(const Variant& variant) {
  vision::ModelConfig config = vision::find_model_config(variant.model);
  config.depth = 2;  // two blocks have every op that four have
  config.classes = kClasses10;
  config.in_chans = 1;
  if (config.mixer == vision::MixerKind::retention) config.scan = variant.scan;
  config.learned_decay = variant.learned_decay;
  return vision::make_model(config);
}

// A trainer of a variant on a backend, with weights that depend on nothing but the seed.
struct PicoRun {
  PicoRun(const Variant& variant, std::unique_ptr<Backend> the_backend, DType dtype = DType::f32)
      : model(make_pico(variant)),
        backend(std::move(the_backend)),
        source(20, kBatch, kSide * kSide, kClasses10),
        trainer(*model, *backend, source, options(dtype)) {
    model::upload_values(*backend, trainer.weights(), model::initial_values(model->parameters(), 3));
    trainer.start_average();
    trainer.start_at({});
  }
  static TrainingOptions options(DType dtype) {
    TrainingOptions options;
    options.pass.dtype = dtype;
    options.epochs = 2;
    options.optimizer.ema_decay = 0.9;
    return options;
  }
  std::vector<double> losses(int steps) {
    std::vector<double> losses;
    for (int i = 0; i < steps; ++i) {
      EXPECT_TRUE(trainer.step());
      losses.push_back(trainer.last_loss());
    }
    return losses;
  }

  std::unique_ptr<vision::VisionModel> model;
  std::unique_ptr<Backend> backend;
  MemorySource source;
  Trainer trainer;
};

void expect_equal(const std::vector<double>& losses, const std::vector<double>& expected) {
  ASSERT_EQ(losses.size(), expected.size());
  for (std::size_t i = 0; i < losses.size(); ++i) {
    EXPECT_NEAR(losses[i], expected[i], 1e-4 * expected[i]) << "step " << i;
  }
}

class CudaEmulatedTraining : public ::testing::TestWithParam<Variant> {
 protected:
  void SetUp() override {
    emulation::reset();
    emulation::set_schedule(emulation::kSchedules[2]);
  }
  void TearDown() override {
    for (const std::string& violation : emulation::violations()) ADD_FAILURE() << violation;
    emulation::reset();
  }
};

TEST_P(CudaEmulatedTraining, TenStepsHaveTheLossesOfTheReference) {
  PicoRun reference(GetParam(), make_backend("reference", 1)), cuda(GetParam(), make_cuda_backend(0));
  const std::vector<double> expected = reference.losses(10);
  EXPECT_GT(std::abs(expected.back() - expected.front()), 0.01) << "nothing was learned";
  // The first step runs op by op, the second is captured whole, the others are replayed.
  const std::int64_t graphs = emulation::Runtime::get().graph_launches;
  expect_equal(cuda.losses(10), expected);
  EXPECT_EQ(emulation::Runtime::get().graph_launches - graphs, 9);
}

INSTANTIATE_TEST_SUITE_P(
    Models, CudaEmulatedTraining,
    ::testing::Values(Variant{"classic_causal", "vretnet_pico_patch4_28", vision::Scan::causal},
                      Variant{"classic_bidirectional", "vretnet_pico_patch4_28", vision::Scan::bidirectional},
                      Variant{"classic_alternate", "vretnet_pico_patch4_28", vision::Scan::alternate},
                      Variant{"local_causal", "vretnet_pico_patch4_28_local", vision::Scan::causal},
                      Variant{"local_bidirectional", "vretnet_pico_patch4_28_local",
                              vision::Scan::bidirectional},
                      Variant{"learned_decay", "vretnet_pico_patch4_28_local", vision::Scan::alternate, true},
                      Variant{"vit", "vit_pico_patch4_28", vision::Scan::causal}),
    [](const auto& each) { return each.param.name; });

// All ten steps op by op, too: the bits of the captured ones, which the reference bounds above. (Local models
// and learned decays: CudaEmulatedStep.CapturedEqualsEagerBitForBit.)
class CudaEmulatedEager : public CudaEmulatedTraining {};
TEST_P(CudaEmulatedEager, TenStepsHaveTheBitsOfCapturedOnes) {
  PicoRun captured(GetParam(), make_cuda_backend(0));
  const auto device = make_cuda_backend(0);
  PicoRun eager(GetParam(), std::make_unique<Eager>(*device));
  const std::vector<double> expected = captured.losses(10);
  const std::int64_t graphs = emulation::Runtime::get().graph_launches;
  EXPECT_EQ(eager.losses(10), expected);
  EXPECT_EQ(emulation::Runtime::get().graph_launches, graphs) << "nothing was replayed";
}
INSTANTIATE_TEST_SUITE_P(
    Models, CudaEmulatedEager,
    ::testing::Values(Variant{"classic_causal", "vretnet_pico_patch4_28", vision::Scan::causal},
                      Variant{"classic_bidirectional", "vretnet_pico_patch4_28", vision::Scan::bidirectional},
                      Variant{"vit", "vit_pico_patch4_28", vision::Scan::causal}),
    [](const auto& each) { return each.param.name; });

// bf16 against the reference in f32: what the losses are off by is what storing activations in 8 bits of
// precision does (2^−8 = 0.4 % an element, of which thousands are averaged). The weights, the moments and
// what is saved stay f32.
TEST_P(CudaEmulatedTraining, TenStepsInBf16StayNearTheReference) {
  PicoRun reference(GetParam(), make_backend("reference", 1)),
      cuda(GetParam(), make_cuda_backend(0), DType::bf16);
  const std::vector<double> expected = reference.losses(10), losses = cuda.losses(10);
  double worst = 0;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    worst = std::max(worst, std::abs(losses[i] - expected[i]) / expected[i]);
  }
  EXPECT_LE(worst, kBoundInBf16);
  EXPECT_GT(worst, 1e-5) << "nothing was rounded";
  EXPECT_EQ(cuda.trainer.weights().dtype(), DType::f32);
  RecordProperty("worst", std::to_string(worst));
  std::cout << "losses in bf16 are off by at most " << worst << "\n";
}

// A run that changes machines between steps goes on as if it had not.
TEST(CudaEmulatedCheckpoint, ResumesOnTheCpuAndTheOtherWayRound) {
  emulation::reset();
  const Variant variant{"local", "vretnet_pico_patch4_28_local", vision::Scan::bidirectional};
  const auto path = std::filesystem::temp_directory_path() / ("vretnet_cuda_" + std::to_string(getpid()));
  const auto on_cuda = [] { return make_cuda_backend(0); };
  const auto on_cpu = [] { return make_backend("onednn", 1); };
  PicoRun whole(variant, on_cpu());
  const std::vector<double> expected = whole.losses(4);
  for (const bool cuda_first : {false, true}) {
    PicoRun first(variant, cuda_first ? on_cuda() : on_cpu()),
        second(variant, cuda_first ? on_cpu() : on_cuda());
    std::vector<double> losses = first.losses(2);
    save_state(path, *first.backend, first.trainer, {});
    load_state(path, *second.backend, second.trainer);
    for (const double loss : second.losses(2)) losses.push_back(loss);
    expect_equal(losses, expected);
  }
  std::filesystem::remove(path);
  EXPECT_TRUE(emulation::violations().empty()) << emulation::violations().front();
}

}  // namespace
}  // namespace vretnet::training
