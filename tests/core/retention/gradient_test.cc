// Retention's gradients against central differences: of all inputs, the state included, by every form.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/retention/retention.h"
#include "tests/support/finite_difference.h"
#include "tests/support/retention_case.h"

namespace vretnet::testing {
namespace {

using ops::DecayKind;
using ops::RetentionForm;

double inner_product(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

void check_gradients(const RetentionShape& shape) {
  Random random(11, {static_cast<std::uint64_t>(shape.pattern.form)});
  RetentionArrays arrays = random_arrays(random, shape, true);
  const bool states = has_state(shape);
  const TestTables<double> tables(spec_of(shape), shape.row_scale);
  const auto state = [&] { return states ? TestTensor<double>(shape.states()) : TestTensor<double>(); };
  const TestTensor<double> o(shape.values()), state_out = state();

  // loss = ⟨d_o, o⟩ + ⟨d_state_out, state_out⟩, from the arrays as they are now.
  const auto with_inputs = [&](const auto& use) {
    TestTensor<double> state_in = state();
    if (states) state_in.set(arrays.state_in);
    const TestTensor<double> q(shape.keys(), Layout{}, arrays.q), k(shape.keys(), Layout{}, arrays.k);
    const TestTensor<double> v(shape.values(), Layout{}, arrays.v);
    return use(q.view(), k.view(), v.view(), state_in.view());
  };
  const std::function<double()> loss = [&] {
    return with_inputs([&](const View& q, const View& k, const View& v, const View& state_in) {
      ops::Retention op{.q = q,
                        .k = k,
                        .v = v,
                        .o = o.view(),
                        .state_in = state_in,
                        .state_out = state_out.view(),
                        .tables = tables.tables(),
                        .pattern = shape.pattern};
      const TestWorkspace workspace(retention::workspace_bytes(op));
      op.workspace = workspace.view();
      retention::run<double>(op);
      return inner_product(arrays.d_o, o.values()) + inner_product(arrays.d_state_out, state_out.values());
    });
  };

  const TestTensor<double> d_o(shape.values(), Layout{}, arrays.d_o);
  TestTensor<double> d_state_out = state();
  if (states) d_state_out.set(arrays.d_state_out);
  const TestTensor<double> d_q(shape.keys()), d_k(shape.keys()), d_v(shape.values()), d_state_in = state();
  with_inputs([&](const View& q, const View& k, const View& v, const View& state_in) {
    ops::RetentionGradient op{.q = q,
                              .k = k,
                              .v = v,
                              .d_o = d_o.view(),
                              .state_in = state_in,
                              .d_state_out = d_state_out.view(),
                              .d_q = d_q.view(),
                              .d_k = d_k.view(),
                              .d_v = d_v.view(),
                              .d_state_in = d_state_in.view(),
                              .tables = tables.tables(),
                              .pattern = shape.pattern};
    const TestWorkspace workspace(retention::workspace_bytes(op));
    op.workspace = workspace.view();
    retention::run<double>(op);
  });
  EXPECT_LE(worst_gradient_error(loss, arrays.q, d_q.values()), 1e-9);
  EXPECT_LE(worst_gradient_error(loss, arrays.k, d_k.values()), 1e-9);
  EXPECT_LE(worst_gradient_error(loss, arrays.v, d_v.values()), 1e-9);
  if (states) {
    EXPECT_LE(worst_gradient_error(loss, arrays.state_in, d_state_in.values()), 1e-9);
  }
}

TEST(RetentionGradients, EqualCentralDifferences) {
  for (const RetentionForm form :
       {RetentionForm::parallel, RetentionForm::chunkwise, RetentionForm::recurrent}) {
    for (const DecayKind decay : {DecayKind::raster, DecayKind::row}) {
      for (const bool bidirectional : {false, true}) {
        const std::int64_t width = 3;
        SCOPED_TRACE(fmt::format("form {} decay {} bidirectional {}", static_cast<int>(form),
                                 static_cast<int>(decay), bidirectional));
        check_gradients({.pattern = {.form = form,
                                     .decay = decay,
                                     .bidirectional = bidirectional,
                                     .row_width = width,
                                     .chunk = decay == DecayKind::row ? 2 * width : 4},
                         .speed = retention::DecaySpeed::fast,
                         .batch = 2,
                         .heads = 2,
                         .height = 3,
                         .key_width = 4,
                         .value_width = 3});
      }
    }
  }
}

}  // namespace
}  // namespace vretnet::testing
