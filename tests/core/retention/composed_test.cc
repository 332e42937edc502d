// The retention block as a composition of simpler ops: against its formula in plain loops, its gradient
// against central differences, both on the reference backend in double.
#include "core/ops/composed.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/backends/reference/reference_backend.h"
#include "core/retention/rotation.h"
#include "tests/support/finite_difference.h"
#include "tests/support/retention_case.h"

namespace vretnet::testing {
namespace {

using ops::DecayKind;
using ops::HeadNormKind;
using ops::RetentionForm;
using ops::Write;

struct BlockCase {
  RetentionShape shape;
  bool turns = true, gate = true;
  double key_scale = 0.5;
  HeadNormKind head_norm = HeadNormKind::layer;
  Write write = Write::overwrite;
  Layout layout;

  retention::RotationSpec rotation() const {
    return {.position = turns ? retention::Position::axial : retention::Position::none,
            .key_width = shape.key_width,
            .row_width = shape.pattern.row_width,
            .tokens = shape.tokens()};
  }
};

constexpr float kEpsilon = 1e-3f;
constexpr int kCases = 48;  // not all combinations of options, but each option beside each other one

BlockCase block_case(int index) {
  BlockCase block;
  const bool by_row = index % 2 == 1;
  block.shape.pattern = {.form = static_cast<RetentionForm>(index % 3),
                         .decay = by_row ? DecayKind::row : DecayKind::raster,
                         .bidirectional = index / 2 % 2 == 1,
                         .row_width = 3,
                         .chunk = by_row ? 6 : 4};
  block.shape.speed = retention::DecaySpeed::fast;
  block.shape.batch = 2;
  block.shape.heads = 2;
  block.shape.height = 3;
  block.shape.key_width = 6;
  block.shape.value_width = 5;
  block.turns = index / 4 % 2 == 0;
  block.gate = index / 8 % 2 == 0;
  block.key_scale = index % 5 == 0 ? 1 : 0.5;
  block.head_norm = index % 7 < 4 ? HeadNormKind::layer : HeadNormKind::rms;
  block.write = index % 3 == 1 ? Write::accumulate : Write::overwrite;
  block.layout = {.gap = index % 4, .reversed = index % 5 > 2};
  return block;
}

std::string describe(const BlockCase& block) {
  const ops::RetentionPattern& pattern = block.shape.pattern;
  return fmt::format("form {} decay {} bidirectional {} turns {} gate {} key_scale {} norm {} accumulate {}",
                     static_cast<int>(pattern.form), static_cast<int>(pattern.decay), pattern.bidirectional,
                     block.turns, block.gate, block.key_scale, static_cast<int>(block.head_norm),
                     block.write == Write::accumulate);
}

struct BlockArrays {
  RetentionArrays retention;  // q, k, v, state_in; state_out
  std::vector<double> g, y;
};

std::vector<double> turned(const BlockCase& block, std::vector<double> x, double scale) {
  const retention::HostRotationTables angles = retention::make_rotation_tables(block.rotation());
  const std::int64_t pairs = block.shape.key_width / 2, heads = block.shape.heads;
  for (std::int64_t pair = 0; pair < static_cast<std::int64_t>(x.size()) / 2; ++pair) {
    const std::int64_t token = pair / pairs / heads % block.shape.tokens();
    const double cosine = block.turns ? angles.cosine[token * pairs + pair % pairs] : 1;
    const double sine = block.turns ? angles.sine[token * pairs + pair % pairs] : 0;
    const double a = x[2 * pair], b = x[2 * pair + 1];
    x[2 * pair] = (a * cosine - b * sine) * scale;
    x[2 * pair + 1] = (a * sine + b * cosine) * scale;
  }
  return x;
}

// y and state_out by the formula of ops::RetentionBlock.
BlockArrays by_formula(const BlockCase& block, BlockArrays arrays) {
  RetentionArrays retention = arrays.retention;
  retention.q = turned(block, retention.q, 1);
  retention.k = turned(block, retention.k, block.key_scale);
  run_oracle(block.shape, retention);
  arrays.retention.state_out = retention.state_out;
  const std::size_t width = block.shape.value_width;
  for (std::size_t first = 0; first < arrays.y.size(); first += width) {
    const double* o = retention.o.data() + first;
    double mean = 0, square = 0;
    for (std::size_t j = 0; j < width && block.head_norm == HeadNormKind::layer; ++j) mean += o[j] / width;
    for (std::size_t j = 0; j < width; ++j) square += (o[j] - mean) * (o[j] - mean) / width;
    for (std::size_t j = 0; j < width; ++j) {
      const double g = arrays.g[first + j];
      const double gate = block.gate ? g / (1 + std::exp(-g)) : 1;
      const double y = gate * (o[j] - mean) / std::sqrt(square + static_cast<double>(kEpsilon));
      arrays.y[first + j] = y + (block.write == Write::accumulate ? arrays.y[first + j] : 0);
    }
  }
  return arrays;
}

class Composed {
 public:
  explicit Composed(int index) : block_(block_case(index)), tables_(spec_of(block_.shape)) {
    Random random(5, {static_cast<std::uint64_t>(index)});
    arrays_.retention = random_arrays(random, block_.shape, true);
    arrays_.g = random_values(random, block_.shape.values());
    arrays_.y = random_values(random, block_.shape.values());
    if (block_.turns) {
      const retention::HostRotationTables angles = retention::make_rotation_tables(block_.rotation());
      const Shape shape{block_.shape.tokens(), block_.shape.key_width / 2};
      cosine_ = TestTensor<double>(shape, Layout{}, angles.cosine);
      sine_ = TestTensor<double>(shape, Layout{}, angles.sine);
    }
  }

  void check_formula() {
    SCOPED_TRACE(describe(block_));
    const BlockArrays expected = by_formula(block_, arrays_);
    const BlockArrays found = by_composition();
    EXPECT_LE(worst_relative_error(found.y, expected.y), 1e-12);
    if (has_state(block_.shape)) {
      EXPECT_LE(worst_relative_error(found.retention.state_out, expected.retention.state_out), 1e-12);
    }
  }

  void check_gradient() {
    SCOPED_TRACE(describe(block_));
    block_.write = Write::overwrite;
    arrays_.retention.state_in.assign(arrays_.retention.state_in.size(), 0);  // training has none
    const std::vector<double> d_y_values = arrays_.retention.d_o;
    RetentionArrays& inputs = arrays_.retention;
    const std::function<double()> loss = [&] {
      const std::vector<double> y = by_composition().y;
      double sum = 0;
      for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * d_y_values[i];
      return sum;
    };

    const TestTensor<double> q = keys(inputs.q), k = keys(inputs.k), v = values(inputs.v);
    const TestTensor<double> g = block_.gate ? values(arrays_.g) : TestTensor<double>();
    const TestTensor<double> d_y = values(d_y_values);
    const TestTensor<double> d_q(block_.shape.keys(), block_.layout), d_k(block_.shape.keys(), block_.layout);
    const TestTensor<double> d_v(block_.shape.values(), block_.layout);
    const TestTensor<double> d_g =
        block_.gate ? TestTensor<double>(block_.shape.values(), block_.layout) : TestTensor<double>();
    ops::RetentionBlockGradient op{.q = q.view(),
                                   .k = k.view(),
                                   .v = v.view(),
                                   .g = g.view(),
                                   .d_y = d_y.view(),
                                   .d_q = d_q.view(),
                                   .d_k = d_k.view(),
                                   .d_v = d_v.view(),
                                   .d_g = d_g.view(),
                                   .cosine = cosine_.view(),
                                   .sine = sine_.view(),
                                   .tables = tables_.tables(),
                                   .pattern = block_.shape.pattern,
                                   .key_scale = static_cast<float>(block_.key_scale),
                                   .head_norm = block_.head_norm,
                                   .epsilon = kEpsilon};
    const TestWorkspace workspace(ops::composed_workspace_bytes(*backend_, op));
    op.workspace = workspace.view();
    ops::run_composed(*backend_, op);
    for (const TestTensor<double>* tensor : {&d_q, &d_k, &d_v, &d_g}) EXPECT_TRUE(tensor->intact());

    EXPECT_LE(worst_gradient_error(loss, inputs.q, d_q.values(), 1e-3, 7), 1e-7);
    EXPECT_LE(worst_gradient_error(loss, inputs.k, d_k.values(), 1e-3, 7), 1e-7);
    EXPECT_LE(worst_gradient_error(loss, inputs.v, d_v.values(), 1e-3, 7), 1e-7);
    if (block_.gate) {
      EXPECT_LE(worst_gradient_error(loss, arrays_.g, d_g.values(), 1e-3, 7), 1e-7);
    }
  }

 private:
  TestTensor<double> keys(const std::vector<double>& values) const {
    return TestTensor<double>(block_.shape.keys(), block_.layout, values);
  }
  TestTensor<double> values(const std::vector<double>& values) const {
    return TestTensor<double>(block_.shape.values(), block_.layout, values);
  }

  // y and state_out by the composition.
  BlockArrays by_composition() {
    BlockArrays result = arrays_;
    const RetentionArrays& inputs = arrays_.retention;
    const TestTensor<double> q = keys(inputs.q), k = keys(inputs.k), v = values(inputs.v);
    const TestTensor<double> g = block_.gate ? values(arrays_.g) : TestTensor<double>();
    const TestTensor<double> y = values(arrays_.y);
    TestTensor<double> state;
    if (has_state(block_.shape)) state = TestTensor<double>(block_.shape.states(), Layout{}, inputs.state_in);
    ops::RetentionBlock op{.q = q.view(),
                           .k = k.view(),
                           .v = v.view(),
                           .g = g.view(),
                           .y = y.view(),
                           .cosine = cosine_.view(),
                           .sine = sine_.view(),
                           .state_in = state.view(),
                           .state_out = state.view(),
                           .tables = tables_.tables(),
                           .pattern = block_.shape.pattern,
                           .key_scale = static_cast<float>(block_.key_scale),
                           .head_norm = block_.head_norm,
                           .epsilon = kEpsilon,
                           .write = block_.write};
    const TestWorkspace workspace(ops::composed_workspace_bytes(*backend_, op));
    op.workspace = workspace.view();
    ops::run_composed(*backend_, op);
    EXPECT_TRUE(y.intact());
    EXPECT_EQ(q.values(), inputs.q);
    EXPECT_EQ(k.values(), inputs.k);
    result.y = y.values();
    result.retention.state_out = state.values();
    return result;
  }

  BlockCase block_;
  BlockArrays arrays_;
  TestTables<double> tables_;
  TestTensor<double> cosine_, sine_;
  std::unique_ptr<Backend> backend_ = reference::make_reference_backend();
};

TEST(ComposedBlock, EqualsItsFormula) {
  for (int index = 0; index < kCases; ++index) Composed(index).check_formula();
}

TEST(ComposedBlock, GradientEqualsCentralDifferences) {
  for (int index = 0; index < kCases; ++index) Composed(index).check_gradient();
}

}  // namespace
}  // namespace vretnet::testing
