// The three forms are one function: each equals the definition, forward and backward, over random shapes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/retention/retention.h"
#include "tests/support/retention_case.h"

namespace vretnet::testing {
namespace {

using ops::DecayKind;
using ops::RetentionForm;

constexpr int kCases = 300;

struct RandomCase {
  RetentionShape shape;
  RetentionArrays arrays;
  Layout layout;
  bool state_in_place;
};

RandomCase random_case(std::uint64_t index) {
  Random random(20240917, {index});
  const auto between = [&](std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random.below(high - low + 1));
  };
  RandomCase result;
  RetentionShape& shape = result.shape;
  // The four patterns in turn, everything else at random.
  shape.pattern.decay = index % 2 == 0 ? DecayKind::raster : DecayKind::row;
  shape.pattern.bidirectional = index / 2 % 2 == 0;
  shape.pattern.row_width = between(1, 7);
  shape.height = between(1, 6);
  const bool by_row = shape.pattern.decay == DecayKind::row;
  shape.pattern.chunk =
      by_row ? between(1, shape.height + 1) * shape.pattern.row_width : between(1, shape.tokens() + 2);
  shape.speed = random.below(2) ? retention::DecaySpeed::fast : retention::DecaySpeed::slow;
  shape.batch = between(1, 2);
  shape.heads = between(1, 4);
  shape.key_width = between(1, 8);
  shape.value_width = between(1, 9);
  shape.row_scale = random.below(4) > 0;
  result.arrays = random_arrays(random, shape, random.below(2) > 0);
  result.layout = {.gap = between(0, 1) * between(1, 5), .reversed = random.below(2) > 0};
  result.state_in_place = random.below(2) > 0;
  return result;
}

std::string describe(const RetentionShape& shape) {
  const ops::RetentionPattern& pattern = shape.pattern;
  return fmt::format("{} {}, {}x{} tokens, chunk {}, d_k {}, d_v {}, form {}",
                     pattern.bidirectional ? "bidirectional" : "causal",
                     pattern.decay == DecayKind::row ? "row" : "raster", shape.height, pattern.row_width,
                     pattern.chunk, shape.key_width, shape.value_width, static_cast<int>(pattern.form));
}

// The outputs of the library for the inputs of `given`.
template <class T>
RetentionArrays run_library(const RandomCase& given) {
  const RetentionShape& shape = given.shape;
  const RetentionArrays& arrays = given.arrays;
  const TestTables<T> tables(spec_of(shape), shape.row_scale);
  const auto make = [&](const Shape& extents, const std::vector<double>& values) {
    return TestTensor<T>(extents, given.layout, values);
  };
  const auto result = [&](const Shape& extents) { return TestTensor<T>(extents, given.layout); };
  const auto state = [&](const std::vector<double>& values) {
    return values.empty() ? TestTensor<T>() : TestTensor<T>(shape.states(), Layout{}, values);
  };
  const TestTensor<T> q = make(shape.keys(), arrays.q), k = make(shape.keys(), arrays.k);
  const TestTensor<T> v = make(shape.values(), arrays.v), d_o = make(shape.values(), arrays.d_o);
  const TestTensor<T> o = result(shape.values()), d_v = result(shape.values());
  const TestTensor<T> d_q = result(shape.keys()), d_k = result(shape.keys());
  const TestTensor<T> state_in = state(arrays.state_in), d_state_out = state(arrays.d_state_out);
  const TestTensor<T> state_out = has_state(shape) ? TestTensor<T>(shape.states()) : TestTensor<T>();
  const TestTensor<T> d_state_in = has_state(shape) ? TestTensor<T>(shape.states()) : TestTensor<T>();

  ops::RetentionGradient gradient{.q = q.view(),
                                  .k = k.view(),
                                  .v = v.view(),
                                  .d_o = d_o.view(),
                                  .state_in = state_in.view(),
                                  .d_state_out = d_state_out.view(),
                                  .d_q = d_q.view(),
                                  .d_k = d_k.view(),
                                  .d_v = d_v.view(),
                                  .d_state_in = d_state_in.view(),
                                  .tables = tables.tables(),
                                  .pattern = shape.pattern};
  const TestWorkspace gradient_workspace(retention::workspace_bytes(gradient));
  gradient.workspace = gradient_workspace.view();
  retention::run<T>(gradient);

  const bool in_place = given.state_in_place && state_in.view();
  ops::Retention op{.q = q.view(),
                    .k = k.view(),
                    .v = v.view(),
                    .o = o.view(),
                    .state_in = state_in.view(),
                    .state_out = in_place ? state_in.view() : state_out.view(),
                    .tables = tables.tables(),
                    .pattern = shape.pattern};
  const TestWorkspace workspace(retention::workspace_bytes(op));
  op.workspace = workspace.view();
  retention::run<T>(op);

  for (const TestTensor<T>* tensor : {&o, &d_q, &d_k, &d_v, &d_state_in}) EXPECT_TRUE(tensor->intact());
  return {.o = o.values(),
          .state_out = in_place ? state_in.values() : state_out.values(),
          .d_q = d_q.values(),
          .d_k = d_k.values(),
          .d_v = d_v.values(),
          .d_state_in = d_state_in.values()};
}

// visit(name, ours, theirs) for each output.
void for_each_output(const RetentionShape& shape, const RetentionArrays& ours, const RetentionArrays& theirs,
                     const auto& visit) {
  visit("o", ours.o, theirs.o);
  visit("d_q", ours.d_q, theirs.d_q);
  visit("d_k", ours.d_k, theirs.d_k);
  visit("d_v", ours.d_v, theirs.d_v);
  if (!has_state(shape)) return;
  visit("state_out", ours.state_out, theirs.state_out);
  visit("d_state_in", ours.d_state_in, theirs.d_state_in);
}

TEST(RetentionForms, EqualTheDefinitionInDouble) {
  for (int index = 0; index < kCases; ++index) {
    RandomCase given = random_case(index);
    RetentionArrays expected = given.arrays;
    run_oracle(given.shape, expected);
    for (const RetentionForm form :
         {RetentionForm::parallel, RetentionForm::chunkwise, RetentionForm::recurrent}) {
      given.shape.pattern.form = form;
      const RetentionArrays found = run_library<double>(given);
      for_each_output(given.shape, found, expected,
                      [&](const char* name, const auto& ours, const auto& theirs) {
                        EXPECT_LE(worst_relative_error(ours, theirs), 1e-12)
                            << name << " of case " << index << ": " << describe(given.shape);
                      });
    }
  }
}

// |f32 − exact| ≤ c·ε·Σ|terms|. All decays are ≥ 0 and every output is a sum of products of its inputs, so
// Σ|terms| is the definition run on magnitudes. c: a term of the recurrent form decays and is added once for
// each of N tokens (2N), γ is rounded and taken to a power of up to N (N), the inner product over d_k or d_v,
// and the row scale, tables and products (8).
double roundings(const RetentionShape& shape) {
  return static_cast<double>(3 * shape.tokens() + std::max(shape.key_width, shape.value_width) + 8);
}

RetentionArrays magnitudes(const RetentionShape& shape, RetentionArrays arrays) {
  for (std::vector<double>* array :
       {&arrays.q, &arrays.k, &arrays.v, &arrays.state_in, &arrays.d_o, &arrays.d_state_out})
    for (double& value : *array) value = std::abs(value);
  run_oracle(shape, arrays);
  return arrays;
}

// The largest error in units of its bound; > 1 is a failure.
double worst_bounded_error(const std::vector<double>& ours, const std::vector<double>& theirs,
                           const std::vector<double>& magnitude, double count) {
  constexpr double kEpsilon = 0x1p-24;  // half a unit in the last place
  if (ours.size() != theirs.size()) return INFINITY;
  double worst = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const double bound = count * kEpsilon * magnitude[i];
    const double error = std::abs(ours[i] - theirs[i]);
    if (!std::isfinite(ours[i])) return INFINITY;
    if (error > 0) worst = std::max(worst, error / bound);
  }
  return worst;
}

TEST(RetentionForms, EqualTheDefinitionInFloatWithinTheirBound) {
  double largest = 0;
  for (int index = 0; index < kCases; ++index) {
    RandomCase given = random_case(index);
    RetentionArrays& arrays = given.arrays;
    for (std::vector<double>* array :
         {&arrays.q, &arrays.k, &arrays.v, &arrays.state_in, &arrays.d_o, &arrays.d_state_out})
      *array = rounded<float>(*array);
    RetentionArrays expected = arrays;
    run_oracle(given.shape, expected);
    const RetentionArrays magnitude = magnitudes(given.shape, arrays);
    for (const RetentionForm form :
         {RetentionForm::parallel, RetentionForm::chunkwise, RetentionForm::recurrent}) {
      given.shape.pattern.form = form;
      const RetentionArrays found = run_library<float>(given);
      const double count = roundings(given.shape);
      const auto check_output = [&](const char* name, const auto& ours, const auto& theirs,
                                    const auto& sizes) {
        const double error = worst_bounded_error(ours, theirs, sizes, count);
        largest = std::max(largest, error);
        EXPECT_LE(error, 1) << name << " of case " << index << ": " << describe(given.shape);
      };
      check_output("o", found.o, expected.o, magnitude.o);
      check_output("d_q", found.d_q, expected.d_q, magnitude.d_q);
      check_output("d_k", found.d_k, expected.d_k, magnitude.d_k);
      check_output("d_v", found.d_v, expected.d_v, magnitude.d_v);
      if (!has_state(given.shape)) continue;
      check_output("state_out", found.state_out, expected.state_out, magnitude.state_out);
      check_output("d_state_in", found.d_state_in, expected.d_state_in, magnitude.d_state_in);
    }
  }
  EXPECT_GT(largest, 0.01) << "the bound is too wide to find anything";
}

// A bound that lets a wrong formula through proves nothing: the misprint of equation 7 (ζ left out) must not
// pass.
TEST(RetentionForms, TheBoundRefusesAMissingZeta) {
  int refused = 0, looked_at = 0;
  for (int index = 0; index < kCases; ++index) {
    RandomCase given = random_case(index);
    RetentionShape& shape = given.shape;
    shape.pattern.form = RetentionForm::chunkwise;
    if (shape.pattern.decay == DecayKind::row || shape.pattern.chunk == 1) continue;
    if (shape.pattern.chunk >= shape.tokens()) continue;
    RetentionArrays expected = given.arrays;
    run_oracle(shape, expected);
    const TestTables<float> right(spec_of(shape), shape.row_scale);
    const std::vector<double> ones(shape.heads * shape.pattern.chunk, 1);
    const TestTensor<float> zeta({shape.heads, shape.pattern.chunk}, Layout{}, ones);
    const TestTensor<float> q(shape.keys(), Layout{}, given.arrays.q),
        k(shape.keys(), Layout{}, given.arrays.k);
    const TestTensor<float> v(shape.values(), Layout{}, given.arrays.v), o(shape.values());
    ops::Retention op{.q = q.view(),
                      .k = k.view(),
                      .v = v.view(),
                      .o = o.view(),
                      .tables = right.tables(),
                      .pattern = shape.pattern};
    op.tables.zeta = zeta.view();
    const TestWorkspace workspace(retention::workspace_bytes(op));
    op.workspace = workspace.view();
    retention::run<float>(op);
    const RetentionArrays magnitude = magnitudes(shape, given.arrays);
    ++looked_at;
    refused += worst_bounded_error(o.values(), expected.o, magnitude.o, roundings(shape)) > 1;
  }
  EXPECT_GT(looked_at, 50);
  EXPECT_EQ(refused, looked_at);
}

TEST(RetentionForms, AnEmptyBatchIsNothing) {
  RetentionShape shape{.pattern = {.row_width = 2}, .batch = 0, .height = 2};
  const TestTables<double> tables(spec_of(shape));
  const TestTensor<double> q(shape.keys()), k(shape.keys()), v(shape.values()), o(shape.values());
  retention::run<double>(ops::Retention{.q = q.view(),
                                        .k = k.view(),
                                        .v = v.view(),
                                        .o = o.view(),
                                        .tables = tables.tables(),
                                        .pattern = shape.pattern});
}

}  // namespace
}  // namespace vretnet::testing
