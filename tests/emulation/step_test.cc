// A training step on an emulated GPU is one graph with the bits of its ops; and what a run says where memory
// is too small.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

#include "core/base/error.h"
#include "tests/emulation/tiny_machines.h"

namespace vretnet::training {
namespace {

using emulation::Runtime;

class CudaEmulatedStep : public OnTinyMachines {};

// The same bits whether a step's ops are started one by one or noted and replayed whole, with several
// batches a step and a short last one, too; with branches that are dropped, which every step draws anew; in
// bf16 the copy of the weights is part of it.
TEST_F(CudaEmulatedStep, CapturedEqualsEagerBitForBit) {
  for (const auto& [accumulation, drop_path, dtype] : {std::tuple{1, 0.0, DType::f32},
                                                       {2, 0.0, DType::f32},
                                                       {2, 0.5, DType::f32},
                                                       {1, 0.0, DType::bf16},
                                                       {2, 0.5, DType::bf16}}) {
    TinyPlan plan{.samples = 11, .accumulation = accumulation, .drop_path = drop_path, .dtype = dtype};
    plan.checkpoint = accumulation == 2;
    TinyMachines captured(plan);
    plan.eager = true;
    TinyMachines eager(plan);
    const std::int64_t before = Runtime::get().graph_launches;
    EXPECT_EQ(captured.losses(6), eager.losses(6));
    EXPECT_GT(Runtime::get().graph_launches - before, 0);
    EXPECT_EQ(captured.state(), eager.state());
    EXPECT_EQ(captured.trainer->gradient_norm(), eager.trainer->gradient_norm());
    EXPECT_EQ(captured.trainer->position(), eager.trainer->position());
  }
}

// Inference in bf16: the copy of the weights is made before anything is captured; logits stay f32.
TEST_F(CudaEmulatedStep, InferenceInBf16IsTheSameCapturedAndStaysNearF32) {
  const auto machine = make_cuda_backend(0);
  const auto model = tiny_model();
  const Allocation weights(*machine, DType::f32, {model->parameters().elements()});
  model::upload_values(*machine, weights.view(), model::initial_values(model->parameters(), 3));
  const std::vector<float> images(static_cast<std::size_t>(2 * kPixels), 0.75f);
  std::vector<std::vector<float>> logits;
  const std::int64_t graphs = Runtime::get().graph_launches;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    model::Session session(*model, *machine, weights.view(), View(), {.dtype = dtype});
    for (int call = 0; call < 3; ++call) {
      const View answer = session.forward(images.data(), 2);
      ASSERT_EQ(answer.dtype(), DType::f32);
      logits.emplace_back(static_cast<std::size_t>(answer.elements()));
      machine->download(answer, logits.back().data());
    }
  }
  EXPECT_EQ(Runtime::get().graph_launches - graphs, 4);
  EXPECT_EQ(logits[3], logits[4]);
  EXPECT_EQ(logits[3], logits[5]);
  EXPECT_NE(logits[3], logits[0]) << "nothing was rounded";
  float largest = 0;
  for (const float logit : logits[0]) largest = std::max(largest, std::abs(logit));
  for (std::size_t i = 0; i < logits[0].size(); ++i) EXPECT_NEAR(logits[3][i], logits[0][i], 0.05f * largest);
}

TEST_F(CudaEmulatedStep, IsOneGraphLaunch) {
  TinyMachines run({});
  run.losses(3);
  const std::int64_t graphs = Runtime::get().graph_launches, launches = Runtime::get().launches;
  run.losses(3);
  EXPECT_EQ(Runtime::get().graph_launches - graphs, 3);
  EXPECT_GT(Runtime::get().launches - launches, 100) << "within the graphs";
}

// What changes from step to step is read from memory: the rates of a warm-up differ, and so do the steps.
TEST_F(CudaEmulatedStep, ReadsTheLearningRateOfItsStep) {
  TinyMachines run({});
  run.losses(2);
  const std::vector<float> second = run.state();
  run.losses(1);
  const double small = run.trainer->learning_rate();
  const std::vector<float> third = run.state();
  run.trainer->start_at({.epoch = 2, .step = 17});  // the last step's rate is the smallest
  EXPECT_LT(run.trainer->learning_rate(), 0.1 * small);
  run.losses(1);
  const std::vector<float> last = run.state();
  const auto weights = static_cast<std::size_t>(run.model->parameters().elements());
  double of_third = 0, of_last = 0;
  for (std::size_t i = 0; i < weights; ++i) {
    of_third = std::max(of_third, std::abs(double(third[i]) - second[i]));
    of_last = std::max(of_last, std::abs(double(last[i]) - third[i]));
  }
  EXPECT_GT(of_third, 0);
  EXPECT_LT(of_last, 0.5 * of_third);
}

TEST_F(CudaEmulatedStep, ALossThatIsNotFiniteLeavesTheState) {
  TinyMachines run({});
  run.losses(3);
  std::vector<float> weights = model::download_values<float>(*run.machines[0], run.trainer->weights());
  weights[static_cast<std::size_t>(run.model->parameters().find("head.bias")->offset)] = NAN;
  model::upload_values(*run.machines[0], run.trainer->weights(), weights);
  const std::size_t parameters = weights.size();
  const std::vector<float> before = run.state();
  EXPECT_THROW(run.trainer->step(), RunError);
  const std::vector<float> after = run.state();
  for (std::size_t i = 0; i < 3 * parameters; ++i) {  // weights and moments
    ASSERT_TRUE(before[i] == after[i] || (std::isnan(before[i]) && std::isnan(after[i]))) << i;
  }
}

// The batch size that the message names does fit. Targets and losses of the batch that was too large are
// there when it is told, so a few images more may fit; asked from near by, it names the last that does.
TEST_F(CudaEmulatedStep, NamesTheBatchSizeThatFits) {
  const auto message_of = [](std::int64_t batch) -> std::string {
    try {
      TinyMachines run({.samples = 2 * batch, .batch = batch});
      run.losses(2);
    } catch (const RunError& error) {
      return error.what();
    }
    return "";
  };
  Runtime::get().model.memory = std::size_t{35} << 20;  // 32 of them are cuBLASLt's
  const auto named_for = [&](std::int64_t batch) -> std::int64_t {
    const std::string message = message_of(batch);
    const std::string found = fmt::format("; {} images at a time are too many, ", batch);
    const std::size_t at = message.find(found);
    EXPECT_NE(at, std::string::npos) << message;
    return at == std::string::npos ? 0 : std::stoll(message.substr(at + found.size()));
  };
  const std::int64_t fits = named_for(600);
  EXPECT_GT(fits, 10);
  EXPECT_EQ(message_of(fits), "");
  const std::int64_t most = named_for(fits + fits / 16);
  EXPECT_GE(most, fits);
  EXPECT_LE(most, fits + fits / 64);
  EXPECT_EQ(message_of(most), "");
  EXPECT_EQ(named_for(most + 1), most);
}

TEST_F(CudaEmulatedStep, SaysWhereNotEvenOneImageFits) {
  TinyMachines run({});
  Runtime::get().model.memory = Runtime::get().used(0) + (4 << 10);
  try {
    run.losses(1);
    ADD_FAILURE() << "there was memory";
  } catch (const RunError& error) {
    EXPECT_NE(std::string(error.what()).find("not even one fits"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace vretnet::training
