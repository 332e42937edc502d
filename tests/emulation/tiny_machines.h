// A tiny model trained on one or several emulated GPUs.
#pragma once

#include <gtest/gtest.h>

#include "core/backends/cuda/cuda_backend.h"
#include "core/ops/decorator.h"
#include "tests/core/training/support.h"
#include "tests/emulation/fake/runtime.h"
#include "tests/emulation/schedules.h"

namespace vretnet::training {

// A machine that cannot record: every step goes op by op.
class Eager : public BackendDecorator {
 public:
  using BackendDecorator::BackendDecorator;
  bool records() const override { return false; }
};

// What a tiny run is asked to do.
struct TinyPlan {
  std::vector<int> devices{0};
  bool eager = false, local = true;
  std::int64_t samples = 24, batch = 4;
  std::int64_t accumulation = 1;
  double drop_path = 0;
  DType dtype = DType::f32;
  bool checkpoint = false;  // blocks run again in backward
};

struct TinyMachines {
  explicit TinyMachines(const TinyPlan& plan)
      : model(tiny_model(plan.local)),
        owned(make_cuda_backends(plan.devices)),
        source(plan.samples, plan.batch, kPixels, kClasses) {
    for (const auto& backend : owned) {
      eager.push_back(std::make_unique<Eager>(*backend));
      machines.push_back(plan.eager ? eager.back().get() : backend.get());
    }
    TrainingOptions options;
    options.epochs = 3;
    options.pass.dtype = plan.dtype;
    options.pass.checkpoint_activations = plan.checkpoint;
    options.accumulation = plan.accumulation;
    options.optimizer.ema_decay = 0.9;
    options.drop_path.rate = plan.drop_path;
    options.bucket_bytes = 2048;  // so that the tiny gradient makes a dozen
    trainer = std::make_unique<Trainer>(*model, machines, source, options);
    model::upload_values(*machines.front(), trainer->weights(),
                         model::initial_values(model->parameters(), 3));
    trainer->start_average();
    trainer->start_at({});
  }
  void step() {
    if (trainer->step()) return;
    trainer->next_epoch();
    ASSERT_TRUE(trainer->step());
  }
  std::vector<double> losses(int steps) {
    std::vector<double> losses;
    for (int i = 0; i < steps; ++i) {
      step();
      losses.push_back(trainer->last_loss());
    }
    return losses;
  }
  // All that the run keeps, of a machine.
  std::vector<float> state(int machine = 0) {
    std::vector<float> all;
    Backend& backend = *machines[static_cast<std::size_t>(machine)];
    for (const View& view : trainer->replica(machine).state()) {
      const std::vector<float> values = model::download_values<float>(backend, view);
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

  std::unique_ptr<vision::VisionModel> model;
  std::vector<std::unique_ptr<Backend>> owned;
  std::vector<std::unique_ptr<Eager>> eager;
  std::vector<Backend*> machines;
  MemorySource source;
  std::unique_ptr<Trainer> trainer;
};

// Every test leaves the emulated machine as it was, and without a violation.
class OnTinyMachines : public ::testing::Test {
 protected:
  void SetUp() override {
    emulation::reset();
    emulation::set_schedule(emulation::kSchedules[2]);
    model_ = emulation::Runtime::get().model;
  }
  void TearDown() override {
    emulation::Runtime& runtime = emulation::Runtime::get();
    runtime.model = model_;
    runtime.stream_order = emulation::StreamOrder::random;
    runtime.lost_wait = {};
    for (const std::string& violation : emulation::violations()) ADD_FAILURE() << violation;
    emulation::reset();
  }
  emulation::MachineModel model_;
};

}  // namespace vretnet::training
