// A sequence cut into calls, each by any form, with the state carried from one to the next, equals the whole.
#include <gtest/gtest.h>

#include "core/retention/retention.h"
#include "tests/support/retention_case.h"

namespace vretnet::testing {
namespace {

using ops::DecayKind;
using ops::RetentionForm;

// Runs tokens first … first + count − 1 with `form`; the state is read and written in place.
void run_piece(const RetentionShape& shape, const ops::Retention& whole, RetentionForm form,
               std::int64_t chunk, std::int64_t first, std::int64_t count) {
  retention::DecaySpec spec = spec_of(shape);
  spec.pattern.form = form;
  spec.pattern.chunk = chunk;
  spec.height = 1;  // a stream does not know how many rows will come
  spec.first_token = first;
  spec.tokens = count;
  const TestTables<double> tables(spec);
  ops::Retention piece = whole;
  for (View* view : {&piece.q, &piece.k, &piece.v, &piece.o}) *view = view->slice(1, first, count);
  piece.tables = tables.tables();
  piece.pattern = spec.pattern;
  const TestWorkspace workspace(retention::workspace_bytes(piece));
  piece.workspace = workspace.view();
  retention::run<double>(piece);
}

TEST(RetentionStreaming, PiecesEqualTheWhole) {
  for (std::uint64_t index = 0; index < 120; ++index) {
    Random random(7, {index});
    const auto between = [&](std::int64_t low, std::int64_t high) {
      return low + static_cast<std::int64_t>(random.below(high - low + 1));
    };
    const bool by_row = index % 2 == 1;
    RetentionShape shape{
        .pattern = {.decay = by_row ? DecayKind::row : DecayKind::raster, .row_width = between(1, 5)},
        .speed = random.below(2) ? retention::DecaySpeed::fast : retention::DecaySpeed::slow,
        .batch = between(1, 2),
        .heads = between(1, 3),
        .height = between(1, 7),
        .key_width = between(1, 5),
        .value_width = between(1, 6)};
    RetentionArrays arrays = random_arrays(random, shape, true);
    const TestTensor<double> q(shape.keys(), Layout{}, arrays.q), k(shape.keys(), Layout{}, arrays.k);
    const TestTensor<double> v(shape.values(), Layout{}, arrays.v), o(shape.values());
    const TestTensor<double> state(shape.states(), Layout{}, arrays.state_in);
    run_oracle(shape, arrays);
    const ops::Retention whole{.q = q.view(),
                               .k = k.view(),
                               .v = v.view(),
                               .o = o.view(),
                               .state_in = state.view(),
                               .state_out = state.view()};
    // A prefill of whole rows, then pieces of tokens (raster) or rows.
    const std::int64_t width = shape.pattern.row_width, unit = by_row ? width : 1;
    std::int64_t first = 0, count = between(1, shape.height) * width;
    while (first < shape.tokens()) {
      const auto form = static_cast<RetentionForm>(random.below(3));
      run_piece(shape, whole, form, between(1, 3) * unit, first, count);
      first += count;
      count = std::min(between(1, 2) * unit, shape.tokens() - first);
    }
    EXPECT_LE(worst_relative_error(o.values(), arrays.o), 1e-12) << index;
    EXPECT_LE(worst_relative_error(state.values(), arrays.state_out), 1e-12) << index;
  }
}

}  // namespace
}  // namespace vretnet::testing
