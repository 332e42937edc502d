// Every gradient op of the reference against central differences in double, of the loss Σ c ⊙ y with fixed
// random c.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

#include "core/backends/reference/reference_backend.h"
#include "core/base/random.h"
#include "core/ops/fields.h"
#include "core/retention/decay.h"
#include "core/retention/rotation.h"
#include "tests/support/finite_difference.h"

namespace vretnet::ops {
namespace {

// Names and contents of the tensors of a little loss.
class GradientCheck : public ::testing::Test {
 protected:
  View tensor(const std::string& name, const Shape& shape, double deviation = 1) {
    const auto [entry, inserted] = tensors_.try_emplace(name, *backend_, DType::f64, shape);
    const View view = entry->second.view();
    Random random(7, {tensors_.size()});
    for (double& element : elements(name)) element = deviation * random.normal();
    return view;
  }
  View table(const std::string& name, const Shape& shape, const std::vector<double>& values) {
    if (values.empty()) return {};
    const View view = tensor(name, shape);
    backend_->upload(view, values.data());
    return view;
  }
  std::span<double> elements(const std::string& name) {
    const View& view = tensors_.at(name).view();
    return {view.data<double>(), static_cast<std::size_t>(view.elements())};
  }

  void run(Op op) {
    validate(op);
    const Allocation workspace(*backend_, backend_->workspace_bytes(op));
    set_workspace(
        op, View(workspace.buffer(), DType::f32, {static_cast<std::int64_t>(workspace.buffer()->bytes / 4)}));
    backend_->run(op);
  }

  // The loss is Σ d_<output> ⊙ <output> over the outputs named; `forward` makes them from the inputs. After
  // the gradient op has run, d_<input> of every input named has to be the loss's derivative.
  void expect_gradients(const Op& forward, const std::vector<std::string>& outputs,
                        const std::vector<std::string>& inputs) {
    const auto loss = [&] {
      run(forward);
      double sum = 0;
      for (const std::string& output : outputs) {
        const std::span<double> y = elements(output), weight = elements("d_" + output);
        for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * weight[i];
      }
      return sum;
    };
    for (const std::string& input : inputs) {
      const double error =
          vretnet::testing::worst_gradient_error(loss, elements(input), elements("d_" + input));
      EXPECT_LT(error, 1e-8) << "d_" << input;
    }
  }
  void zero(const std::string& name) {
    for (double& element : elements(name)) element = 0;
  }

  std::unique_ptr<Backend> backend_ = reference::make_reference_backend();
  std::map<std::string, Allocation> tensors_;
};

TEST_F(GradientCheck, Convolution) {
  const Shape x{2, 5, 6, 3}, weight{4, 3, 3, 3}, y{2, 3, 3, 4};
  const Padding padding{1, 1, 1, 0};
  const Convolution forward{.x = tensor("x", x),
                            .weight = tensor("weight", weight),
                            .bias = tensor("bias", {4}),
                            .y = tensor("y", y),
                            .stride = 2,
                            .padding = padding};
  const View d_y = tensor("d_y", y), d_weight = tensor("d_weight", weight), d_bias = tensor("d_bias", {4});
  zero("d_weight");
  zero("d_bias");
  run(ConvolutionInputGradient{
      .weight = forward.weight, .d_y = d_y, .d_x = tensor("d_x", x), .stride = 2, .padding = padding});
  run(ConvolutionWeightGradient{
      .x = forward.x, .d_y = d_y, .d_weight = d_weight, .d_bias = d_bias, .stride = 2, .padding = padding});
  expect_gradients(forward, {"y"}, {"x", "weight", "bias"});
}

TEST_F(GradientCheck, Depthwise) {
  const Shape x{2, 4, 5, 3}, weight{3, 1, 3, 3};
  const Padding padding{2, 0, 1, 1};
  const Depthwise forward{.x = tensor("x", x),
                          .weight = tensor("weight", weight),
                          .bias = tensor("bias", {3}),
                          .y = tensor("y", x),
                          .padding = padding};
  const View d_y = tensor("d_y", x), d_weight = tensor("d_weight", weight), d_bias = tensor("d_bias", {3});
  zero("d_weight");
  zero("d_bias");
  run(DepthwiseInputGradient{
      .weight = forward.weight, .d_y = d_y, .d_x = tensor("d_x", x), .padding = padding});
  run(DepthwiseWeightGradient{
      .x = forward.x, .d_y = d_y, .d_weight = d_weight, .d_bias = d_bias, .padding = padding});
  expect_gradients(forward, {"y"}, {"x", "weight", "bias"});
}

TEST_F(GradientCheck, Activation) {
  for (ActivationKind kind : {ActivationKind::none, ActivationKind::gelu, ActivationKind::silu}) {
    const Shape shape{3, 17};
    const Activation forward{.x = tensor("x", shape, 2), .y = tensor("y", shape), .kind = kind};
    run(ActivationGradient{
        .x = forward.x, .d_y = tensor("d_y", shape), .d_x = tensor("d_x", shape), .kind = kind});
    expect_gradients(forward, {"y"}, {"x"});
  }
}

TEST_F(GradientCheck, Gate) {
  const Shape shape{2, 3, 5};
  const Gate forward{.g = tensor("g", shape), .x = tensor("x", shape), .y = tensor("y", shape)};
  run(GateGradient{.g = forward.g,
                   .x = forward.x,
                   .d_y = tensor("d_y", shape),
                   .d_g = tensor("d_g", shape),
                   .d_x = tensor("d_x", shape)});
  expect_gradients(forward, {"y"}, {"g", "x"});
}

TEST_F(GradientCheck, LayerNorm) {
  const Shape shape{4, 7};
  const LayerNorm forward{.x = tensor("x", shape),
                          .gain = tensor("gain", {7}),
                          .bias = tensor("bias", {7}),
                          .y = tensor("y", shape),
                          .mean = tensor("mean", {4}),
                          .inverse_deviation = tensor("inverse_deviation", {4})};
  run(forward);
  const View d_gain = tensor("d_gain", {7}), d_bias = tensor("d_bias", {7});
  zero("d_gain");
  zero("d_bias");
  run(LayerNormGradient{.x = forward.x,
                        .gain = forward.gain,
                        .mean = forward.mean,
                        .inverse_deviation = forward.inverse_deviation,
                        .d_y = tensor("d_y", shape),
                        .d_x = tensor("d_x", shape),
                        .d_gain = d_gain,
                        .d_bias = d_bias});
  expect_gradients(forward, {"y"}, {"x", "gain", "bias"});
}

TEST_F(GradientCheck, HeadNorm) {
  for (HeadNormKind kind : {HeadNormKind::layer, HeadNormKind::rms}) {
    const Shape shape{2, 3, 2, 5};
    const HeadNorm forward{.x = tensor("x", shape), .y = tensor("y", shape), .kind = kind, .epsilon = 0.1f};
    run(HeadNormGradient{.x = forward.x,
                         .d_y = tensor("d_y", shape),
                         .d_x = tensor("d_x", shape),
                         .kind = kind,
                         .epsilon = 0.1f});
    expect_gradients(forward, {"y"}, {"x"});
  }
}

TEST_F(GradientCheck, RotateIsItsOwnInverse) {
  const Shape shape{2, 5, 2, 6}, angles{5, 3};
  const auto tables = retention::make_rotation_tables(
      {.position = retention::Position::raster, .key_width = 6, .row_width = 5, .tokens = 5});
  const Rotate forward{.x = tensor("x", shape),
                       .cosine = table("cosine", angles, tables.cosine),
                       .sine = table("sine", angles, tables.sine),
                       .y = tensor("y", shape),
                       .scale = 0.3f};
  run(Rotate{.x = tensor("d_y", shape),
             .cosine = forward.cosine,
             .sine = forward.sine,
             .y = tensor("d_x", shape),
             .scale = 0.3f,
             .inverse = true});
  expect_gradients(forward, {"y"}, {"x"});
}

TEST_F(GradientCheck, DecayPowers) {
  const Shape shape{3, 6};
  DecayPowers op{.exponents = table("exponents", {6}, {0, 1, 0.5, 7.25, 40, INFINITY}),
                 .log_rate = tensor("log_rate", {3, 1}),
                 .y = tensor("y", shape)};
  const View d_y = tensor("d_y", shape), d_log_rate = tensor("d_log_rate", {3, 1});
  op.derivative = true;
  run(op);
  zero("d_log_rate");
  run(HeadDot{.a = op.y.split(0, 1).split(2, 6).transposed(1, 2),  // [1, 6, 3, 1]
              .b = d_y.split(0, 1).split(2, 6).transposed(1, 2),
              .y = d_log_rate});
  op.derivative = false;
  expect_gradients(op, {"y"}, {"log_rate"});
}

// Rates beyond what numbers hold: a decay of 0 or of 1, and never NaN.
TEST_F(GradientCheck, DecayPowersOfAbsurdRates) {
  DecayPowers op{.exponents = table("exponents", {3}, {0, 2, INFINITY}),
                 .log_rate = table("log_rate", {4, 1}, {-1e6, -200, 200, 1e6}),
                 .y = tensor("y", {4, 3})};
  run(op);
  const std::span<double> y = elements("y");
  EXPECT_EQ(std::vector<double>(y.begin(), y.end()),
            (std::vector<double>{1, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 0}));
  op.derivative = true;
  run(op);
  for (const double derivative : elements("y")) EXPECT_NEAR(derivative, 0, 1e-37);
}

TEST_F(GradientCheck, Attention) {
  const Shape shape{2, 5, 2, 4}, statistics{2, 2, 5};
  const Attention forward{.q = tensor("q", shape),
                          .k = tensor("k", shape),
                          .v = tensor("v", shape),
                          .o = tensor("o", shape),
                          .log_sum_exp = tensor("log_sum_exp", statistics),
                          .scale = 0.5f};
  run(forward);
  run(AttentionGradient{.q = forward.q,
                        .k = forward.k,
                        .v = forward.v,
                        .o = forward.o,
                        .log_sum_exp = forward.log_sum_exp,
                        .d_o = tensor("d_o", shape),
                        .d_q = tensor("d_q", shape),
                        .d_k = tensor("d_k", shape),
                        .d_v = tensor("d_v", shape),
                        .scale = 0.5f});
  expect_gradients(forward, {"o"}, {"q", "k", "v"});
}

TEST_F(GradientCheck, PoolTokens) {
  for (PoolKind kind : {PoolKind::mean, PoolKind::last}) {
    const Shape x{2, 5, 3}, y{2, 3};
    const PoolTokens forward{.x = tensor("x", x), .y = tensor("y", y), .kind = kind, .scale = 0.2f};
    run(PoolTokensGradient{.d_y = tensor("d_y", y), .d_x = tensor("d_x", x), .kind = kind, .scale = 0.2f});
    expect_gradients(forward, {"y"}, {"x"});
  }
}

TEST_F(GradientCheck, CrossEntropy) {
  for (bool weighted : {false, true}) {
    const Shape shape{3, 5};
    CrossEntropy op{.logits = tensor("logits", shape),
                    .targets = tensor("targets", shape),
                    .loss = tensor("loss", {3}),
                    .d_logits = tensor("d_logits", shape),
                    .smoothing = 0.1f,
                    .gradient_scale = 0.25f};
    if (weighted) op.class_weight = tensor("class_weight", {5});
    run(op);
    tensor("d_loss", {3});
    for (double& element : elements("d_loss")) element = 0.25;
    op.d_logits = {};
    expect_gradients(op, {"loss"}, {"logits"});
  }
}

TEST_F(GradientCheck, Softmax) {
  const Shape shape{3, 7};
  const Softmax forward{.x = tensor("x", shape), .y = tensor("y", shape)};
  run(forward);
  run(SoftmaxGradient{.y = forward.y, .d_y = tensor("d_y", shape), .d_x = tensor("d_x", shape)});
  expect_gradients(forward, {"y"}, {"x"});
}

// Its own gradient, without the residual.
TEST_F(GradientCheck, ScaleSamples) {
  const Shape shape{3, 2, 5};
  const ScaleSamples forward{.x = tensor("x", shape),
                             .scale = tensor("scale", {3}),
                             .residual = tensor("residual", shape),
                             .y = tensor("y", shape)};
  run(ScaleSamples{.x = tensor("d_y", shape), .scale = forward.scale, .y = tensor("d_x", shape)});
  expect_gradients(forward, {"y"}, {"x"});
}

// The patterns of the retentions: 2 rows of 3 tokens, chunks that end in the middle.
std::vector<RetentionPattern> patterns() {
  std::vector<RetentionPattern> patterns;
  for (DecayKind decay : {DecayKind::raster, DecayKind::row}) {
    for (bool bidirectional : {false, true}) {
      for (RetentionForm form :
           {RetentionForm::parallel, RetentionForm::chunkwise, RetentionForm::recurrent}) {
        patterns.push_back({form, decay, bidirectional, 3,
                            form != RetentionForm::chunkwise ? 0
                            : decay == DecayKind::row        ? 3
                                                             : 4});
      }
    }
  }
  return patterns;
}

struct RetentionCheck : GradientCheck {
  static constexpr std::int64_t kTokens = 6, kHeads = 2, kKeys = 4, kValues = 3;
  const Shape keys{2, kTokens, kHeads, kKeys}, values{2, kTokens, kHeads, kValues},
      state{2, kHeads, kKeys, kValues};

  DecayTables tables(const RetentionPattern& pattern) {
    const auto host = retention::make_decay_tables({.pattern = pattern,
                                                    .heads = kHeads,
                                                    .speed = retention::DecaySpeed::fast,
                                                    .height = 2,
                                                    .tokens = kTokens});
    const std::int64_t chunk = host.chunk;
    DecayTables tables;
    const std::string suffix = std::to_string(chunk);
    tables.gamma = table("gamma", {kHeads}, host.gamma);
    tables.mask = table("mask" + suffix, {kHeads, chunk, chunk}, host.mask);
    tables.xi = table("xi" + suffix, {kHeads, chunk}, host.xi);
    tables.zeta = table("zeta" + suffix, {kHeads, chunk}, host.zeta);
    tables.carry = table("carry", {kHeads, 2}, host.carry);
    tables.xi_up = table("xi_up" + suffix, {kHeads, chunk}, host.xi_up);
    tables.zeta_up = table("zeta_up" + suffix, {kHeads, chunk}, host.zeta_up);
    tables.row_scale = table("row_scale", {kHeads, kTokens}, host.row_scale);
    return tables;
  }
};

TEST_F(RetentionCheck, Retention) {
  for (const RetentionPattern& pattern : patterns()) {
    SCOPED_TRACE(::testing::Message() << "form " << int(pattern.form) << " decay " << int(pattern.decay)
                                      << " bidirectional " << pattern.bidirectional);
    Retention forward{.q = tensor("q", keys),
                      .k = tensor("k", keys),
                      .v = tensor("v", values),
                      .o = tensor("o", values),
                      .tables = tables(pattern),
                      .pattern = pattern};
    RetentionGradient gradient{.q = forward.q,
                               .k = forward.k,
                               .v = forward.v,
                               .d_o = tensor("d_o", values),
                               .d_q = tensor("d_q", keys),
                               .d_k = tensor("d_k", keys),
                               .d_v = tensor("d_v", values),
                               .tables = forward.tables,
                               .pattern = pattern};
    std::vector<std::string> outputs{"o"}, inputs{"q", "k", "v"};
    if (!pattern.bidirectional) {
      forward.state_in = gradient.state_in = tensor("state", state);
      forward.state_out = tensor("last_state", state);
      gradient.d_state_out = tensor("d_last_state", state);
      gradient.d_state_in = tensor("d_state", state);
      outputs.push_back("last_state");
      inputs.push_back("state");
    }
    run(gradient);
    expect_gradients(forward, outputs, inputs);
  }
}

TEST_F(RetentionCheck, RetentionBlock) {
  const Shape angles{kTokens, kKeys / 2};
  const auto rotation = retention::make_rotation_tables(
      {.position = retention::Position::axial, .key_width = kKeys, .row_width = 3, .tokens = kTokens});
  int turn = 0;
  for (const RetentionPattern& pattern : patterns()) {
    SCOPED_TRACE(::testing::Message() << "form " << int(pattern.form) << " decay " << int(pattern.decay)
                                      << " bidirectional " << pattern.bidirectional);
    const bool gated = turn % 2 == 0, turned = turn % 3 != 0;
    const HeadNormKind norm = turn++ % 4 < 2 ? HeadNormKind::layer : HeadNormKind::rms;
    RetentionBlock forward{.q = tensor("q", keys),
                           .k = tensor("k", keys),
                           .v = tensor("v", values),
                           .y = tensor("y", values),
                           .tables = tables(pattern),
                           .pattern = pattern,
                           .key_scale = 0.5f,
                           .head_norm = norm,
                           .epsilon = 0.1f};
    RetentionBlockGradient gradient{.q = forward.q,
                                    .k = forward.k,
                                    .v = forward.v,
                                    .d_y = tensor("d_y", values),
                                    .d_q = tensor("d_q", keys),
                                    .d_k = tensor("d_k", keys),
                                    .d_v = tensor("d_v", values),
                                    .tables = forward.tables,
                                    .pattern = pattern,
                                    .key_scale = 0.5f,
                                    .head_norm = norm,
                                    .epsilon = 0.1f};
    std::vector<std::string> inputs{"q", "k", "v"};
    if (gated) {
      forward.g = gradient.g = tensor("g", values);
      gradient.d_g = tensor("d_g", values);
      inputs.push_back("g");
    }
    if (turned) {
      forward.cosine = gradient.cosine = table("cosine", angles, rotation.cosine);
      forward.sine = gradient.sine = table("sine", angles, rotation.sine);
    }
    run(gradient);
    expect_gradients(forward, {"y"}, inputs);
  }
}

// The check can fail: a gradient that is off by one part in 10⁶ does not pass.
TEST(FiniteDifference, NoticesASmallMistake) {
  std::vector<double> x{0.5, -1.25};
  const auto f = [&] { return std::exp(x[0]) * x[1]; };
  const std::vector<double> right{std::exp(0.5) * -1.25, std::exp(0.5)};
  const std::vector<double> wrong{right[0] * (1 + 1e-6), right[1]};
  EXPECT_LT(vretnet::testing::worst_gradient_error(f, x, right), 1e-10);
  EXPECT_GT(vretnet::testing::worst_gradient_error(f, x, wrong), 1e-7);
}

}  // namespace
}  // namespace vretnet::ops
