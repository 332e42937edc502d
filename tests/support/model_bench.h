// A whole model in a test: logits and gradients of Σ logits ⊙ direction for given weights.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/model/model.h"
#include "tests/support/pass_bench.h"
#include "tests/support/test_tensor.h"

namespace vretnet::testing {

class ModelBench {
 public:
  ModelBench(const model::Model& model, const layers::Pass::Options& options, std::int64_t batch,
             const std::string& backend = "reference")
      : model_(model), bench_(model.parameters(), options, backend), batch_(batch) {
    Random random(5);
    images_ = random_values(random, model.input_shape(batch));
    direction_ = random_values(random, {batch, model.classes()});
  }

  PassBench& bench() { return bench_; }
  const std::vector<double>& images() const { return images_; }

  // Without training, no gradients: half the work, as inference does it.
  std::vector<double> logits() { return run(images_, batch_, /*backward=*/false); }
  std::vector<double> logits_of(const std::vector<double>& images, std::int64_t batch) {
    return run(images, batch, /*backward=*/false);
  }
  std::pair<std::vector<double>, std::vector<double>> logits_and_gradients() {
    bench_.clear_gradients();
    auto logits = run(images_, batch_, /*backward=*/true);
    return {std::move(logits), bench_.gradients()};
  }
  double objective() {
    const std::vector<double> values = logits();
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum += values[i] * direction_[i];
    return sum;
  }

 private:
  std::vector<double> run(const std::vector<double>& images, std::int64_t batch, bool backward) {
    const Allocation input = bench_.upload(images, model_.input_shape(batch));
    const Allocation d_logits = bench_.upload(direction_, {batch_, model_.classes()});
    std::vector<double> result;
    bench_.walk([&](layers::Pass& pass) {
      result = bench_.download(pass, model_.forward(pass, input.view()));
      if (backward) {
        model_.backward(pass, d_logits.view());
      } else {
        while (pass.saved() > 0) pass.take();
      }
    });
    return result;
  }

  const model::Model& model_;
  PassBench bench_;
  std::int64_t batch_;
  std::vector<double> images_, direction_;
};

}  // namespace vretnet::testing
