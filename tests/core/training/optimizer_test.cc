// AdamW as the backends compute it against the formula written out in double.
#include "core/training/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/backends/available.h"
#include "core/base/random.h"
#include "core/model/weights.h"

namespace vretnet::training {
namespace {

constexpr double kUnit = 0x1p-24;  // half a unit in the last place of 1
constexpr double kRoundings =
    12;  // of a gradient's way into a moment: squares, blocks, root, factor, products

struct PlainAdamW {
  OptimizerOptions options;
  std::size_t decaying;
  std::vector<double> weights, m, v, average;
  // How far f32 may be off: m is a sum of these magnitudes, the others follow.
  std::vector<double> m_bound, v_bound, weight_bound;

  void step(const std::vector<double>& gradients, double learning_rate, int t) {
    double squares = 0;
    for (const double g : gradients) squares += g * g;
    const double length = std::sqrt(squares);
    const double factor = options.clip_norm > 0 ? std::min(1.0, options.clip_norm / (length + 1e-6)) : 1;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double g = gradients[i] * factor;
      const double beta1 = options.beta1, beta2 = options.beta2;
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      if (i < decaying) weights[i] -= learning_rate * options.weight_decay * weights[i];
      const double corrected1 = 1 - std::pow(beta1, t + 1), corrected2 = 1 - std::pow(beta2, t + 1);
      const double root = std::sqrt(v[i] / corrected2) + options.epsilon;
      weights[i] -= learning_rate * (m[i] / corrected1) / root;

      // The clipped gradient has kRoundings of the norm and its own; every term adds a few.
      m_bound[i] = beta1 * m_bound[i] + kRoundings * kUnit * (std::abs(m[i]) + (1 - beta1) * std::abs(g));
      v_bound[i] = beta2 * v_bound[i] + 2 * kRoundings * kUnit * v[i];
      const double step_bound = learning_rate / corrected1 / root *
                                (m_bound[i] + std::abs(m[i]) * (v_bound[i] / v[i] / 2 + kRoundings * kUnit));
      weight_bound[i] += step_bound + 4 * kUnit * std::abs(weights[i]);
      const double decay = std::min(options.ema_decay, (1.0 + t + 1) / (10.0 + t + 1));
      if (!average.empty()) average[i] += (1 - decay) * (weights[i] - average[i]);
    }
  }
};

// A table with a decaying matrix and a vector that does not decay, of odd sizes, so that there are gaps.
layers::ParameterTable odd_table() {
  layers::ParameterTable table;
  table.add({"bias", Shape{37}, {}, /*decays=*/false});
  table.add({"weight", Shape{13, 7}, {}, /*decays=*/true});
  table.lay_out();
  return table;
}

void expect_near(const std::vector<float>& actual, const std::vector<double>& expected,
                 const std::vector<double>& bound, const char* what) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], bound[i]) << what << " " << i;
  }
}

class OptimizerTest : public ::testing::TestWithParam<std::string> {
 protected:
  // Five steps; the first gradients are long (clipped), the last ones short (not).
  void compare(const OptimizerOptions& options) {
    const layers::ParameterTable table = odd_table();
    const auto count = std::size_t(table.elements());
    const auto backend = make_backend(GetParam(), 1);
    Optimizer optimizer(*backend, table, DType::f32, options);
    const Allocation weights(*backend, DType::f32, {table.elements()});
    const Allocation gradients(*backend, DType::f32, {table.elements()});

    PlainAdamW plain{.options = options, .decaying = std::size_t(table.decaying_elements())};
    Random random(5);
    for (std::size_t i = 0; i < count; ++i) plain.weights.push_back(float(random.normal()));
    plain.m.assign(count, 0);
    plain.v = plain.m_bound = plain.v_bound = plain.weight_bound = plain.m;
    model::upload_values(*backend, weights.view(), plain.weights);
    if (options.ema_decay > 0) {
      plain.average = plain.weights;
      backend->run(ops::Convert{weights.view(), optimizer.average()});
    }
    for (int t = 0; t < 5; ++t) {
      std::vector<double> g(count);
      for (double& value : g) value = float(random.normal() * (t < 3 ? 1.0 : 0.01));
      model::upload_values(*backend, gradients.view(), g);
      const double learning_rate = 0.01 * (t + 1);
      optimizer.update(weights.view(), gradients.view(), learning_rate, t);
      plain.step(g, learning_rate, t);
      double squares = 0;
      for (const double value : g) squares += value * value;
      EXPECT_NEAR(optimizer.gradient_norm(), std::sqrt(squares), 1e-5 * std::sqrt(squares));
    }
    expect_near(model::download_values<float>(*backend, weights.view()), plain.weights, plain.weight_bound,
                "weight");
    expect_near(model::download_values<float>(*backend, optimizer.first_moment()), plain.m, plain.m_bound,
                "m");
    expect_near(model::download_values<float>(*backend, optimizer.second_moment()), plain.v, plain.v_bound,
                "v");
    if (options.ema_decay > 0) {
      expect_near(model::download_values<float>(*backend, optimizer.average()), plain.average,
                  plain.weight_bound, "average");
    } else {
      EXPECT_FALSE(optimizer.average());
    }
  }
};

TEST_P(OptimizerTest, FiveSteps) {
  compare({});
}

TEST_P(OptimizerTest, WithoutClipping) {
  compare({.clip_norm = 0});
}

TEST_P(OptimizerTest, OtherConstantsAndAMovingAverage) {
  compare({.beta1 = 0.8,
           .beta2 = 0.95,
           .epsilon = 1e-6,
           .weight_decay = 0.5,
           .clip_norm = 0.25,
           .ema_decay = 0.3});
}

// Early on the average follows (1 + t) / (10 + t), so that first weights are forgotten.
TEST_P(OptimizerTest, AMovingAverageThatWarmsUp) {
  compare({.ema_decay = 0.9998});
}

INSTANTIATE_TEST_SUITE_P(Backends, OptimizerTest, ::testing::ValuesIn(available_backends()),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace vretnet::training
