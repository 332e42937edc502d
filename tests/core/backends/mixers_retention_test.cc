// The CPU backend's retention against its definition in double (tests/support/oracle_retention.h), and the
// fused block against the reference backend in double.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "core/backends/onednn/mixers/mixers.h"
#include "core/backends/reference/reference_backend.h"
#include "core/retention/rotation.h"
#include "tests/support/instruction_sets.h"
#include "tests/support/retention_case.h"

namespace vretnet::testing {
namespace {

using ops::DecayKind;
using ops::RetentionForm;
using retention::DecaySpeed;

void run_mixer(auto op) {
  const TestWorkspace workspace(onednn::workspace_bytes(op));
  op.workspace = workspace.view();
  onednn::run(op);
}
void run_reference(auto op) {
  const auto backend = reference::make_reference_backend();
  const TestWorkspace workspace(backend->workspace_bytes(op));
  op.workspace = workspace.view();
  backend->run(op);
}

std::string describe(const RetentionShape& shape, const Layout& layout) {
  const ops::RetentionPattern& pattern = shape.pattern;
  return fmt::format("{} {}, form {}, {}x{} tokens, chunk {}, d_k {}, d_v {}, gap {}{}",
                     pattern.bidirectional ? "bidirectional" : "causal",
                     pattern.decay == DecayKind::row ? "row" : "raster", static_cast<int>(pattern.form),
                     shape.height, pattern.row_width, pattern.chunk, shape.key_width, shape.value_width,
                     layout.gap, layout.reversed ? " reversed" : "");
}

void expect_equal(const std::vector<double>& found, const std::vector<double>& expected, double bound,
                  const char* name) {
  EXPECT_LT(worst_relative_error(found, expected), bound) << name;
}
void expect_equal(const TestTensor<float>& found, const std::vector<double>& expected, double bound,
                  const char* name) {
  EXPECT_TRUE(found.intact()) << name;
  expect_equal(found.values(), expected, bound, name);
}

// Roundings of γ to float add up along a sequence; products of `tokens` terms round as their sum.
double bound_of(const RetentionShape& shape) {
  return 2e-6 + 3e-8 * static_cast<double>(shape.tokens());
}

void expect_as_defined(const RetentionShape& shape, const Layout& layout, bool states, std::uint64_t seed) {
  SCOPED_TRACE(describe(shape, layout));
  Random random(seed);
  RetentionArrays arrays = random_arrays(random, shape, states);
  for (auto* array : {&arrays.q, &arrays.k, &arrays.v, &arrays.d_o, &arrays.state_in, &arrays.d_state_out})
    *array = rounded<float>(*array);
  const bool has_states = has_state(shape);
  const TestTables<float> tables(spec_of(shape), shape.row_scale);
  const TestTensor<float> q(shape.keys(), layout, arrays.q), k(shape.keys(), layout, arrays.k);
  const TestTensor<float> v(shape.values(), layout, arrays.v), d_o(shape.values(), layout, arrays.d_o);
  const TestTensor<float> o(shape.values(), layout), d_v(shape.values(), layout);
  const TestTensor<float> d_q(shape.keys(), layout), d_k(shape.keys(), layout);
  TestTensor<float> state_in, d_state_out, state_out, d_state_in;
  if (states && has_states) {
    state_in = TestTensor<float>(shape.states(), Layout{}, arrays.state_in);
    d_state_out = TestTensor<float>(shape.states(), Layout{}, arrays.d_state_out);
  }
  if (has_states) state_out = TestTensor<float>(shape.states());
  if (has_states) d_state_in = TestTensor<float>(shape.states());

  run_mixer(ops::Retention{.q = q.view(),
                           .k = k.view(),
                           .v = v.view(),
                           .o = o.view(),
                           .state_in = state_in.view(),
                           .state_out = state_out.view(),
                           .tables = tables.tables(),
                           .pattern = shape.pattern});
  run_mixer(ops::RetentionGradient{.q = q.view(),
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
                                   .pattern = shape.pattern});
  run_oracle(shape, arrays);
  const double bound = bound_of(shape);
  expect_equal(o, arrays.o, bound, "o");
  expect_equal(d_q, arrays.d_q, bound, "d_q");
  expect_equal(d_k, arrays.d_k, bound, "d_k");
  expect_equal(d_v, arrays.d_v, bound, "d_v");
  if (!has_states) return;
  expect_equal(state_out, arrays.state_out, bound, "state_out");
  expect_equal(d_state_in, arrays.d_state_in, bound, "d_state_in");
  if (!states) return;
  run_mixer(ops::Retention{.q = q.view(),
                           .k = k.view(),
                           .v = v.view(),
                           .o = o.view(),
                           .state_in = state_in.view(),
                           .state_out = state_in.view(),
                           .tables = tables.tables(),
                           .pattern = shape.pattern});
  EXPECT_EQ(state_in.values(), state_out.values()) << "state in place";
}

// The four masks in the three forms; a ragged last chunk wherever `chunk` does not divide the tokens.
template <class Visit>
void for_each_pattern(std::int64_t width, std::int64_t chunk_rows, const Visit& visit) {
  for (const DecayKind decay : {DecayKind::raster, DecayKind::row}) {
    for (const bool bidirectional : {false, true}) {
      for (const RetentionForm form :
           {RetentionForm::parallel, RetentionForm::chunkwise, RetentionForm::recurrent}) {
        const std::int64_t chunk = chunk_rows * width - (decay == DecayKind::raster && width > 1 ? 1 : 0);
        visit(ops::RetentionPattern{.form = form,
                                    .decay = decay,
                                    .bidirectional = bidirectional,
                                    .row_width = width,
                                    .chunk = form == RetentionForm::chunkwise ? chunk : 0});
      }
    }
  }
}

TEST(MixersRetention, EqualsItsDefinition) {
  struct Grid {
    std::int64_t height, width, chunk_rows;
  };
  for (const Grid& grid : {Grid{1, 1, 1}, {1, 7, 1}, {3, 2, 2}, {7, 7, 2}, {5, 10, 2}, {2, 50, 1}}) {
    for (const std::int64_t key_width : {2, 6, 16}) {
      for_each_pattern(grid.width, grid.chunk_rows, [&](const ops::RetentionPattern& pattern) {
        const RetentionShape shape{.pattern = pattern,
                                   .speed = DecaySpeed::fast,
                                   .batch = 2,
                                   .heads = 2,
                                   .height = grid.height,
                                   .key_width = key_width,
                                   .value_width = key_width + 3};
        expect_as_defined(shape, {}, key_width == 6, 11);
      });
    }
  }
}

TEST(MixersRetention, ReadsStridedAndReversedViews) {
  for (const Layout& layout :
       {Layout{.gap = 5}, Layout{.reversed = true}, Layout{.gap = 12, .reversed = true}}) {
    for_each_pattern(7, 3, [&](const ops::RetentionPattern& pattern) {
      const RetentionShape shape{.pattern = pattern,
                                 .speed = DecaySpeed::slow,
                                 .batch = 2,
                                 .heads = 3,
                                 .height = 4,
                                 .key_width = 6,
                                 .value_width = 10,
                                 .row_scale = layout.gap > 5};
      expect_as_defined(shape, layout, true, 12);
    });
  }
}

TEST(MixersRetention, WideHeadsAndManyTokens) {
  for_each_pattern(14, 3, [&](const ops::RetentionPattern& pattern) {
    const RetentionShape shape{.pattern = pattern,
                               .speed = DecaySpeed::slow,
                               .batch = 1,
                               .heads = 1,
                               .height = 14,
                               .key_width = 64,
                               .value_width = 64};
    expect_as_defined(shape, {}, true, 13);
  });
  const ops::RetentionPattern parallel{.bidirectional = true,
                                       .row_width = 20};  // too long to keep its scores
  expect_as_defined({.pattern = parallel, .height = 15, .key_width = 16, .value_width = 20}, {}, false, 14);
}

TEST(MixersRetention, EveryInstructionSet) {
  for_each_instruction_set([] {
    for_each_pattern(5, 2, [](const ops::RetentionPattern& pattern) {
      const RetentionShape shape{.pattern = pattern, .height = 5, .key_width = 22, .value_width = 27};
      expect_as_defined(shape, {.gap = 1}, true, 15);
    });
  });
}

struct BlockOptions {
  bool gate = true, turn = true;
  ops::HeadNormKind norm = ops::HeadNormKind::layer;
  ops::Write write = ops::Write::overwrite;
};

// One retention block and its gradient: the same numbers in any dtype.
template <class T>
struct BlockCase {
  TestTensor<T> q, k, v, g, d_y, y, d_q, d_k, d_v, d_g, cosine, sine, state_in, state_out;
  TestTables<T> tables;
  RetentionShape shape;
  BlockOptions options;

  BlockCase(const RetentionShape& shape_, const Layout& layout, const BlockOptions& options_, bool states)
      : q(shape_.keys(), layout),
        k(shape_.keys(), layout),
        v(shape_.values(), layout),
        d_y(shape_.values(), layout),
        y(shape_.values(), layout),
        d_q(shape_.keys(), layout),
        d_k(shape_.keys(), layout),
        d_v(shape_.values(), layout),
        tables(spec_of(shape_)),
        shape(shape_),
        options(options_) {
    Random random(21);
    const auto fill = [&](TestTensor<T>& tensor, const Shape& extents) {
      tensor.set(rounded<float>(random_values(random, extents)));
    };
    for (auto* tensor : {&q, &k}) fill(*tensor, shape.keys());
    for (auto* tensor : {&v, &d_y, &y}) fill(*tensor, shape.values());
    if (options.gate) {
      g = TestTensor<T>(shape.values(), layout);
      d_g = TestTensor<T>(shape.values(), layout);
      fill(g, shape.values());
    }
    if (options.turn) {
      const retention::HostRotationTables angles =
          retention::make_rotation_tables({.position = retention::Position::axial,
                                           .key_width = shape.key_width,
                                           .row_width = shape.pattern.row_width,
                                           .tokens = shape.tokens()});
      const Shape extents{shape.tokens(), shape.key_width / 2};
      cosine = TestTensor<T>(extents, {}, rounded<float>(angles.cosine));
      sine = TestTensor<T>(extents, {}, rounded<float>(angles.sine));
    }
    if (states) {
      state_in = TestTensor<T>(shape.states());
      state_out = TestTensor<T>(shape.states());
      fill(state_in, shape.states());
    }
  }
  ops::RetentionBlock forward() const {
    return {.q = q.view(),
            .k = k.view(),
            .v = v.view(),
            .g = g.view(),
            .y = y.view(),
            .cosine = cosine.view(),
            .sine = sine.view(),
            .state_in = state_in.view(),
            .state_out = state_out.view(),
            .tables = tables.tables(),
            .pattern = shape.pattern,
            .key_scale = 0.25f,
            .head_norm = options.norm,
            .epsilon = 1e-3f,
            .write = options.write};
  }
  ops::RetentionBlockGradient gradient() const {
    return {.q = q.view(),
            .k = k.view(),
            .v = v.view(),
            .g = g.view(),
            .d_y = d_y.view(),
            .d_q = d_q.view(),
            .d_k = d_k.view(),
            .d_v = d_v.view(),
            .d_g = d_g.view(),
            .cosine = cosine.view(),
            .sine = sine.view(),
            .tables = tables.tables(),
            .pattern = shape.pattern,
            .key_scale = 0.25f,
            .head_norm = options.norm,
            .epsilon = 1e-3f};
  }
};

void expect_block_as_reference(const RetentionShape& shape, const Layout& layout, const BlockOptions& options,
                               bool states) {
  SCOPED_TRACE(describe(shape, layout) + fmt::format(", gate {}, turn {}, norm {}, write {}", options.gate,
                                                     options.turn, static_cast<int>(options.norm),
                                                     static_cast<int>(options.write)));
  states = states && has_state(shape);
  const BlockCase<float> found(shape, layout, options, states);
  const BlockCase<double> expected(shape, {}, options, states);
  run_mixer(found.forward());
  run_mixer(found.gradient());
  run_reference(expected.forward());
  run_reference(expected.gradient());
  const double bound = 4 * bound_of(shape);
  expect_equal(found.y, expected.y.values(), bound, "y");
  if (states) expect_equal(found.state_out, expected.state_out.values(), bound, "state_out");
  expect_equal(found.d_q, expected.d_q.values(), bound, "d_q");
  expect_equal(found.d_k, expected.d_k.values(), bound, "d_k");
  expect_equal(found.d_v, expected.d_v.values(), bound, "d_v");
  if (options.gate) expect_equal(found.d_g, expected.d_g.values(), bound, "d_g");
}

TEST(MixersRetentionBlock, EqualsTheReference) {
  struct Grid {
    std::int64_t height, width, chunk_rows;
  };
  for (const Grid& grid : {Grid{1, 1, 1}, {7, 7, 2}, {5, 10, 2}, {6, 9, 4}}) {
    for (const std::int64_t key_width : {2, 6, 48}) {
      for_each_pattern(grid.width, grid.chunk_rows, [&](const ops::RetentionPattern& pattern) {
        const RetentionShape shape{.pattern = pattern,
                                   .speed = DecaySpeed::fast,
                                   .batch = 1,
                                   .heads = 2,
                                   .height = grid.height,
                                   .key_width = key_width,
                                   .value_width = 2 * key_width};
        expect_block_as_reference(shape, {.gap = 3}, {}, true);
      });
    }
  }
}

TEST(MixersRetentionBlock, Options) {
  const ops::RetentionPattern pattern{.row_width = 7};
  const RetentionShape shape{.pattern = pattern, .heads = 3, .height = 4, .key_width = 12, .value_width = 20};
  for (const bool gate : {false, true}) {
    for (const bool turn : {false, true}) {
      for (const ops::HeadNormKind norm : {ops::HeadNormKind::layer, ops::HeadNormKind::rms}) {
        for (const ops::Write write : {ops::Write::overwrite, ops::Write::accumulate}) {
          expect_block_as_reference(shape, {.reversed = true}, {gate, turn, norm, write}, true);
        }
      }
    }
  }
}

TEST(MixersRetentionBlock, EveryInstructionSet) {
  for_each_instruction_set([] {
    for_each_pattern(5, 2, [](const ops::RetentionPattern& pattern) {
      const RetentionShape shape{.pattern = pattern, .height = 5, .key_width = 22, .value_width = 27};
      expect_block_as_reference(shape, {.gap = 1}, {}, true);
    });
  });
}

// The gate's exponential at its ends: −200 would overflow 2^x, NaN must stay.
TEST(MixersRetentionBlock, ExtremeGates) {
  const RetentionShape shape{.pattern = {.row_width = 2}, .height = 2, .key_width = 2, .value_width = 4};
  const BlockCase<float> found(shape, {}, {}, false);
  const BlockCase<double> expected(shape, {}, {}, false);
  const float gates[] = {-200, -90, -87, -20, -1e-30f, 0, 1e-30f, 20, 87, 90, 200, 1e30f, -1e30f, 1, 2, 3};
  for (int i = 0; i < 16; ++i)
    expected.g.view().data<double>()[i] = found.g.view().data<float>()[i] = gates[i];
  run_mixer(found.forward());
  run_mixer(found.gradient());
  run_reference(expected.forward());
  run_reference(expected.gradient());
  for (int i = 0; i < 16; ++i) {
    const double y = expected.y.values()[i], d_g = expected.d_g.values()[i];
    EXPECT_NEAR(found.y.values()[i], y, 1e-5 * std::abs(y) + 1e-7) << gates[i];
    EXPECT_NEAR(found.d_g.values()[i], d_g, 1e-5 * std::abs(d_g) + 1e-6) << gates[i];
  }
  found.g.view().data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  run_mixer(found.forward());
  EXPECT_TRUE(std::isnan(found.y.values()[5]));
}

// Causal heads that are left over are cut (head_shares.h): the one of three on two threads, the three on
// seven and on sixteen, the last two of twelve on five; with a state that comes in, that leaves, and both in
// one place.
TEST(MixersRetentionBlock, ThreadsDoNotChangeBits) {
  const int threads = omp_get_max_threads();
  for_each_pattern(7, 2, [](const ops::RetentionPattern& pattern) {
    for (const std::int64_t batch : {1, 4}) {
      for (const bool states : {false, true}) {
        RetentionShape shape{.pattern = pattern, .batch = batch, .heads = 3, .height = 15};
        shape.key_width = shape.value_width = 16;
        SCOPED_TRACE(describe(shape, {}));
        std::vector<std::vector<double>> one_thread;
        for (const int count : {1, 2, 5, 7, 16}) {
          omp_set_num_threads(count);
          const BlockCase<float> block(shape, {}, {}, states && has_state(shape));
          run_mixer(block.forward());
          run_mixer(block.gradient());
          std::vector<std::vector<double>> outputs = {block.y.values(), block.d_q.values(),
                                                      block.d_k.values(), block.d_v.values(),
                                                      block.d_g.values()};
          ops::RetentionBlock half = block.forward();
          for (View* left_out : {&half.state_in, &half.state_out}) {
            const View given = std::exchange(*left_out, View());
            run_mixer(half);
            outputs.push_back(block.y.values());
            *left_out = given;
          }
          half.state_out = half.state_in;
          run_mixer(half);
          outputs.push_back(block.y.values());
          if (block.state_in.view()) outputs.push_back(block.state_in.values());
          if (block.state_out.view()) outputs.push_back(block.state_out.values());
          if (count == 1) one_thread = outputs;
          EXPECT_EQ(outputs, one_thread) << count << " threads";
        }
      }
    }
  });
  omp_set_num_threads(threads);
}

}  // namespace
}  // namespace vretnet::testing
