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

constexpr int kRandomCases = 300;

struct RandomCase {
  RetentionShape shape;
  RetentionArrays arrays;
  Layout layout;
  bool state_in_place = false;
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

// visit(name, array) for each output of a retention and its gradient.
void for_each_output(const RetentionShape& shape, const auto& visit) {
  visit("o", &RetentionArrays::o);
  visit("d_q", &RetentionArrays::d_q);
  visit("d_k", &RetentionArrays::d_k);
  visit("d_v", &RetentionArrays::d_v);
  if (!has_state(shape)) return;
  visit("state_out", &RetentionArrays::state_out);
  visit("d_state_in", &RetentionArrays::d_state_in);
}

constexpr RetentionForm kForms[] = {RetentionForm::parallel, RetentionForm::chunkwise,
                                    RetentionForm::recurrent};

void check_in_double(RandomCase given) {
  RetentionArrays expected = given.arrays;
  run_oracle(given.shape, expected);
  for (const RetentionForm form : kForms) {
    given.shape.pattern.form = form;
    const RetentionArrays found = run_library<double>(given);
    for_each_output(given.shape, [&](const char* name, auto output) {
      EXPECT_LE(worst_relative_error(found.*output, expected.*output), 1e-12)
          << name << ": " << describe(given.shape);
    });
  }
}

TEST(RetentionForms, EqualTheDefinitionInDouble) {
  for (int index = 0; index < kRandomCases; ++index) {
    SCOPED_TRACE(index);
    check_in_double(random_case(index));
  }
}

// |f32 − exact| ≤ c·ε·Σ|terms|. All decays are ≥ 0 and every output is a sum of products of its inputs, so
// Σ|terms| is the definition run on magnitudes. c: a term of the recurrent form decays and is added once for
// each of N tokens (2N), γ is rounded and taken to a power of up to N (N), the inner product over d_k or d_v,
// and the row scale, tables and products (8).
double roundings(const RetentionShape& shape) {
  return static_cast<double>(3 * shape.tokens() + std::max(shape.key_width, shape.value_width) + 8);
}

constexpr std::vector<double> RetentionArrays::*kInputs[] = {
    &RetentionArrays::q,        &RetentionArrays::k,   &RetentionArrays::v,
    &RetentionArrays::state_in, &RetentionArrays::d_o, &RetentionArrays::d_state_out};

RetentionArrays magnitudes(const RetentionShape& shape, RetentionArrays arrays) {
  for (const auto input : kInputs)
    for (double& value : arrays.*input) value = std::abs(value);
  run_oracle(shape, arrays);
  return arrays;
}

// The largest error in units of its bound; > 1 is a failure.
double worst_bounded_error(const std::vector<double>& ours, const std::vector<double>& theirs,
                           const std::vector<double>& magnitude, double count) {
  constexpr double kFloatEpsilon = 0x1p-24;  // half a unit in the last place
  if (ours.size() != theirs.size()) return INFINITY;
  double worst = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const double bound = count * kFloatEpsilon * magnitude[i];
    const double error = std::abs(ours[i] - theirs[i]);
    if (!std::isfinite(ours[i])) return INFINITY;
    if (error > 0) worst = std::max(worst, error / bound);
  }
  return worst;
}

// Returns the largest error in units of its bound.
double check_in_float(RandomCase given) {
  RetentionArrays& arrays = given.arrays;
  for (const auto input : kInputs) arrays.*input = rounded<float>(arrays.*input);
  RetentionArrays expected = arrays;
  run_oracle(given.shape, expected);
  const RetentionArrays magnitude = magnitudes(given.shape, arrays);
  double largest = 0;
  for (const RetentionForm form : kForms) {
    given.shape.pattern.form = form;
    const RetentionArrays found = run_library<float>(given);
    for_each_output(given.shape, [&](const char* name, auto output) {
      const double error =
          worst_bounded_error(found.*output, expected.*output, magnitude.*output, roundings(given.shape));
      largest = std::max(largest, error);
      EXPECT_LE(error, 1) << name << ": " << describe(given.shape);
    });
  }
  return largest;
}

TEST(RetentionForms, EqualTheDefinitionInFloatWithinTheirBound) {
  double largest = 0;
  for (int index = 0; index < kRandomCases; ++index) {
    SCOPED_TRACE(index);
    largest = std::max(largest, check_in_float(random_case(index)));
  }
  EXPECT_GT(largest, 0.01) << "the bound is too wide to find anything";
}

// Where γ^n is far below the smallest float and sums are long.
TEST(RetentionForms, LongSequences) {
  for (const DecayKind decay : {DecayKind::raster, DecayKind::row}) {
    for (const bool bidirectional : {false, true}) {
      RandomCase given;
      given.shape = {
          .pattern = {.decay = decay, .bidirectional = bidirectional, .row_width = 25, .chunk = 75},
          .speed = bidirectional ? retention::DecaySpeed::fast : retention::DecaySpeed::slow,
          .heads = 2,
          .height = 16,
          .key_width = 4,
          .value_width = 3};
      Random random(3);
      given.arrays = random_arrays(random, given.shape, true);
      check_in_double(given);
      check_in_float(given);
    }
  }
}

// A bound that lets a wrong formula through proves nothing: the misprint of equation 7 (ζ left out) must not
// pass.
TEST(RetentionForms, TheBoundRefusesAMissingZeta) {
  int refused = 0, looked_at = 0;
  for (int index = 0; index < kRandomCases; ++index) {
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
