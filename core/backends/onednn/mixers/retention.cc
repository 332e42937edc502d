// Retention and the retention block, forward: chunk by chunk (MODEL.md's O_i, R_i, U_i; ops.h), everything
// between the projections while a chunk's rows lie in cache.
#include <cmath>

#include "core/backends/onednn/mixers/head_shares.h"
#include "core/backends/onednn/mixers/mixers.h"
#include "core/backends/onednn/mixers/retention_head.h"
#include "core/backends/onednn/mixers/small_gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/mixers/retention.cc"
#include <hwy/foreach_target.h>
// After the targets:
#include <hwy/highway.h>

#include "core/backends/onednn/mixers/retention_chunk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

struct ForwardScratch {
  float* own_tables;
  Output q, k;          // [chunk, d_k], turned
  Output k_transposed;  // [d_k, chunk]
  Output scores;        // [a row block, chunk]
  Output o;             // [chunk, d_v]
  RowNumbers numbers;
  Output weighted;      // [chunk, d_k or d_v]
  Output state;         // R, [d_k, d_v]
  Output later_states;  // U of the chunks 1 …, one below the other

  ForwardScratch(Scratch& scratch, const RetentionShape& shape) {
    const ChunkPlan& plan = shape.plan;
    const std::size_t tokens = std::min(plan.tokens, plan.chunk), d_k = shape.key_width,
                      d_v = shape.value_width;
    own_tables = scratch.take(own_tables_floats(plan));
    q = scratch.take(tokens, d_k);
    k = scratch.take(tokens, d_k);
    k_transposed = scratch.take(d_k, padded(tokens));
    scores = scratch.take(std::min(tokens, kRows), padded(tokens));
    o = scratch.take(tokens, d_v);
    numbers = RowNumbers(scratch, tokens);
    weighted = scratch.take(tokens, std::max(d_k, d_v));
    state = scratch.take(d_k, d_v);
    if (plan.bidirectional && plan.chunks > 1) later_states = scratch.take((plan.chunks - 1) * d_k, d_v);
  }
  Output later_state(const RetentionShape& shape, std::size_t chunk) const {
    return later_states.from_row((chunk - 1) * shape.key_width);
  }
};

// Turns k of a chunk and adds the chunk to a state.
void add_chunk(const RetentionHead& head, std::size_t chunk, const float* zeta, float carry,
               const ForwardScratch& s, State& state) {
  const ChunkPlan& plan = head.shape.plan;
  const std::size_t first = plan.first(chunk), count = plan.count(chunk);
  rotate_rows(head, Turn::forth, first, count, head.shape.key_scale, head.k.from_row(first), s.k);
  add_to_state(count, head.shape.key_width, head.shape.value_width, s.k, zeta, head.v.from_row(first), carry,
               s.weighted, state);
}

// U of all chunks but the first, from the last chunk up.
void make_later_states(const RetentionHead& head, const ForwardScratch& s) {
  const ChunkPlan& plan = head.shape.plan;
  for (std::size_t i = plan.chunks - 1; i > 0; --i) {
    const ChunkWeights weights = weights_of(head, i);
    State state{s.later_state(head.shape, i)};
    if (i + 1 < plan.chunks) {
      copy_rows(head.shape.key_width, head.shape.value_width, s.later_state(head.shape, i + 1), state.values);
      state.empty = false;
    }
    add_chunk(head, i, weights.zeta_up, weights.carry, s, state);
  }
}

// The outputs of a part's chunks.
void run_retention(RetentionHead head, const HeadPart& part, float* memory) {
  const ChunkPlan& plan = head.shape.plan;
  const std::size_t d_k = head.shape.key_width, d_v = head.shape.value_width;
  Scratch scratch(memory);
  const ForwardScratch s(scratch, head.shape);
  make_own_tables(head, s.own_tables);
  if (plan.bidirectional && plan.chunks > 1) make_later_states(head, s);
  State state{s.state};
  if (head.state_in) {
    copy_rows(d_k, d_v, head.state_in, s.state);
    state.empty = false;
  }
  for (std::size_t i = 0; i < part.begin; ++i) {
    const ChunkWeights weights = weights_of(head, i);
    add_chunk(head, i, weights.zeta, weights.carry, s, state);
  }
  const bool leaves_state = head.state_out && part.end == plan.chunks;
  for (std::size_t i = part.begin; i < part.end; ++i) {
    const std::size_t first = plan.first(i), count = plan.count(i);
    const Input v = head.v.from_row(first);
    const ChunkWeights weights = weights_of(head, i);
    rotate_rows(head, Turn::forth, first, count, 1, head.q.from_row(first), s.q);
    rotate_rows(head, Turn::forth, first, count, head.shape.key_scale, head.k.from_row(first), s.k);
    transpose(count, d_k, 1, s.k, s.k_transposed);
    const std::size_t next = i + 1 < part.end ? plan.count(i + 1) : 0;
    prefetch_rows(next, d_k, head.q.from_row(first + count));
    prefetch_rows(next, d_k, head.k.from_row(first + count));
    const RowBlocks blocks{plan, count};
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      const RowBlock block = blocks[b];
      masked_scores(head, block, d_k, s.q, s.k_transposed, s.scores);
      multiply(Left::plain, block.count, d_v, block.columns, s.scores, v, s.o.from_row(block.first));
    }
    prefetch_rows(count, d_v, head.g.from_row(first));
    if (!state.empty) add_from_state(count, d_k, d_v, s.q, weights.xi, state.values, s.weighted, s.o);
    if (plan.bidirectional && i + 1 < plan.chunks) {
      add_from_state(count, d_k, d_v, s.q, weights.xi_up, s.later_state(head.shape, i + 1), s.weighted, s.o);
    }
    prefetch_rows(next, d_v, head.v.from_row(first + count));
    if (i + 1 < part.end || leaves_state) {
      add_to_state(count, d_k, d_v, s.k, weights.zeta, v, weights.carry, s.weighted, state);
    }
    finish_rows(head.shape, count, row_scale_of(head, first), s.o, head.g.from_row(first),
                head.y.from_row(first), s.numbers);
  }
  if (leaves_state) put_state(head.shape, state, head.state_out);
}

std::size_t retention_floats(const RetentionShape& shape) {
  Scratch scratch;
  ForwardScratch(scratch, shape);
  return scratch.floats();
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(run_retention);
HWY_EXPORT(retention_floats);

namespace {

template <class Op>
std::size_t floats_of(const Op& op) {
  return HWY_DYNAMIC_DISPATCH(retention_floats)(shape_of(op));
}

template <class Op>
HeadShares shares_of(const Op& op) {
  return {op.q.extent(0) * op.q.extent(2), shape_of(op), omp_get_max_threads()};
}

// A state may leave where it came in: parts of one head read it from a copy.
View take_states(ops::Workspace& workspace, const RetentionShape& shape, const HeadShares& shares) {
  if (!shape.state_in || !shape.state_out || shares.cut_heads() == 0) return {};
  return workspace.take(DType::f32,
                        {shares.cut_heads(), static_cast<std::int64_t>(shape.key_width * shape.value_width)});
}
Output copy_of_state(const View& states, const RetentionShape& shape, std::int64_t index) {
  return {states.data<float>() + index * states.stride(0), static_cast<std::ptrdiff_t>(shape.value_width)};
}

template <class Op>
std::size_t workspace_of(const Op& op) {
  ops::Workspace workspace;
  workspace.take_bytes(bytes_for_threads(floats_of(op)));
  take_states(workspace, shape_of(op), shares_of(op));
  return workspace.bytes();
}

template <class Op>
void run_all_heads(const Op& op) {
  const RetentionShape shape = shape_of(op);
  const HeadShares shares = shares_of(op);
  const std::int64_t heads = op.q.extent(2);
  ops::Workspace workspace(op.workspace);
  const View memory_of_threads = workspace.take_bytes(bytes_for_threads(floats_of(op)));
  const View states = take_states(workspace, shape, shares);
  const auto head_at = [&](std::int64_t index) {
    return head_of_op(op, shape, index / heads, index % heads);
  };
  for (std::int64_t cut = 0; states && cut < shares.cut_heads(); ++cut) {
    copy_rows(shape.key_width, shape.value_width, head_at(shares.whole_heads() + cut).state_in,
              copy_of_state(states, shape, cut));
  }
  for_tasks(shares.threads(), memory_of_threads, floats_of(op), [&](std::int64_t thread, float* memory) {
    shares.for_parts_of(thread, [&](const HeadPart& part) {
      RetentionHead head = head_at(part.head);
      const std::int64_t cut = part.head - shares.whole_heads();
      if (states && cut >= 0) head.state_in = copy_of_state(states, shape, cut);
      HWY_DYNAMIC_DISPATCH(run_retention)(head, part, memory);
    });
  });
}

}  // namespace

std::size_t workspace_bytes(const ops::Retention& op) {
  return workspace_of(op);
}
std::size_t workspace_bytes(const ops::RetentionBlock& op) {
  return workspace_of(op);
}
void run(const ops::Retention& op) {
  run_all_heads(op);
}
void run(const ops::RetentionBlock& op) {
  run_all_heads(op);
}

}  // namespace vretnet::onednn
#endif
