// The gradients of retention and of the retention block, by two sweeps over the chunks (MODEL.md,
// "Backward"): down, which keeps R before every chunk and, bidirectionally, F = ∂loss/∂U; and up, with G =
// ∂loss/∂R running along. The block's output before its norm is made again on the way down; nothing but q, k,
// v, g is kept from the forward pass.
#include <cmath>

#include "core/backends/onednn/mixers/mixers.h"
#include "core/backends/onednn/mixers/retention_head.h"
#include "core/backends/onednn/mixers/small_gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/mixers/retention_gradient.cc"
#include <hwy/foreach_target.h>
// After the targets:
#include <hwy/highway.h>

#include "core/backends/onednn/mixers/retention_chunk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

// A single chunk of up to so many tokens keeps its scores on the way down for the way up.
constexpr std::size_t kKeptTokens = 256;
bool keeps_scores(const RetentionShape& shape) {
  return shape.plan.chunks == 1 && shape.plan.tokens <= kKeptTokens && shape.norm != RowNorm::none;
}

struct GradientScratch {
  float* own_tables;
  Output q, k, d_o;  // [tokens, width]: turned q and k; ∂loss/∂o without norm, gate and row scale
  Output k_transposed, v_transposed;  // [width, chunk]
  Output scores, kept_scores;         // [a row block or all, chunk]
  Output o;                           // [chunk, d_v]
  Output d_q, d_k;                    // [chunk, d_k], turned
  RowNumbers numbers;
  Output weighted;                              // [chunk, d_k or d_v]
  Output transposed_state;                      // [d_v, d_k]
  Output states, later_states, d_later_states;  // R before chunk i, U behind it, F in it: [d_k, d_v] each
  Output d_state;                               // G

  GradientScratch(Scratch& scratch, const RetentionShape& shape) {
    const ChunkPlan& plan = shape.plan;
    const std::size_t tokens = std::min(plan.tokens, plan.chunk), d_k_width = shape.key_width,
                      d_v = shape.value_width;
    own_tables = scratch.take(own_tables_floats(plan));
    q = scratch.take(plan.tokens, d_k_width);
    k = scratch.take(plan.tokens, d_k_width);
    d_o = scratch.take(plan.tokens, d_v);
    k_transposed = scratch.take(d_k_width, padded(tokens));
    v_transposed = scratch.take(d_v, padded(tokens));
    scores = scratch.take(std::min(tokens, kRows), padded(tokens));
    if (keeps_scores(shape)) kept_scores = scratch.take(tokens, padded(tokens));
    o = scratch.take(tokens, d_v);
    d_q = scratch.take(tokens, d_k_width);
    d_k = scratch.take(tokens, d_k_width);
    numbers = RowNumbers(scratch, tokens);
    weighted = scratch.take(tokens, std::max(d_k_width, d_v));
    if (plan.chunks > 1 || shape.state_in || shape.state_out || shape.d_state_in) {
      transposed_state = scratch.take(d_v, padded(d_k_width));
      d_state = scratch.take(d_k_width, d_v);
      states = scratch.take(plan.chunks * d_k_width, d_v);
      if (plan.bidirectional) {
        later_states = scratch.take(plan.chunks * d_k_width, d_v);
        d_later_states = scratch.take(plan.chunks * d_k_width, d_v);
      }
    }
  }
};

class Gradient {
 public:
  Gradient(const RetentionHead& head, const GradientScratch& scratch)
      : head_(head),
        s_(scratch),
        plan_(head.shape.plan),
        d_k_(head.shape.key_width),
        d_v_(head.shape.value_width) {}

  void run() {
    rotate_rows(head_, Turn::forth, 0, plan_.tokens, 1, head_.q, s_.q);
    rotate_rows(head_, Turn::forth, 0, plan_.tokens, head_.shape.key_scale, head_.k, s_.k);
    if (plan_.bidirectional) make_later_states();
    for (std::size_t i = 0; i < plan_.chunks; ++i) go_down(i);
    State d_state{s_.d_state};
    if (head_.d_state_out) {
      copy_rows(d_k_, d_v_, head_.d_state_out, s_.d_state);
      d_state.empty = false;
    }
    for (std::size_t i = plan_.chunks; i-- > 0;) go_up(i, d_state);
    put_state(head_.shape, d_state, head_.d_state_in);
  }

 private:
  Output state(Output states, std::size_t i) const { return states.from_row(i * d_k_); }
  bool has_state_before(std::size_t i) const { return i > 0 || head_.shape.state_in; }
  bool has_state_behind(std::size_t i) const { return plan_.bidirectional && i + 1 < plan_.chunks; }

  // `from` ends up in states[to] with the weighted tokens of chunk i added.
  void next_state(std::size_t i, Input from, Output to, Input a, const float* weights, Input b) const {
    State state{to};
    if (from) {
      copy_rows(d_k_, d_v_, from, to);
      state.empty = false;
    }
    add_to_state(plan_.count(i), d_k_, d_v_, a, weights, b, weights_of(head_, i).carry, s_.weighted, state);
  }

  // later_states[i]: U of the chunk behind i.
  void make_later_states() const {
    for (std::size_t i = plan_.chunks; i-- > 1;) {
      const std::size_t first = plan_.first(i);
      const Input from = has_state_behind(i) ? Input(state(s_.later_states, i)) : Input();
      next_state(i, from, state(s_.later_states, i - 1), s_.k.from_row(first), weights_of(head_, i).zeta_up,
                 head_.v.from_row(first));
    }
  }

  void go_down(std::size_t i) const {
    const std::size_t first = plan_.first(i);
    const Input q = s_.q.from_row(first), k = s_.k.from_row(first), v = head_.v.from_row(first);
    const Output d_o = s_.d_o.from_row(first);
    const ChunkWeights weights = weights_of(head_, i);
    if (i == 0 && head_.shape.state_in) copy_rows(d_k_, d_v_, head_.state_in, s_.states);
    make_d_o(i, q, k, v, weights);
    if (i + 1 == plan_.chunks) return;
    const Input none;
    next_state(i, has_state_before(i) ? Input(state(s_.states, i)) : none, state(s_.states, i + 1), k,
               weights.zeta, v);
    if (plan_.bidirectional) {
      next_state(i, i > 0 ? Input(state(s_.d_later_states, i)) : none, state(s_.d_later_states, i + 1), q,
                 weights.xi_up, d_o);
    }
  }

  // ∂loss/∂o of chunk i, and d_g: for a block from o, which is made again.
  void make_d_o(std::size_t i, Input q, Input k, Input v, const ChunkWeights& weights) const {
    const std::size_t first = plan_.first(i), count = plan_.count(i);
    const Output d_o = s_.d_o.from_row(first);
    const float* row_scale = row_scale_of(head_, first);
    if (head_.shape.norm == RowNorm::none) {
      scale_rows(count, d_v_, row_scale, head_.d_y.from_row(first), d_o);
      return;
    }
    transpose(count, d_k_, 1, k, s_.k_transposed);
    const RowBlocks blocks{plan_, count};
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      const RowBlock block = blocks[b];
      const Output scores = s_.kept_scores ? s_.kept_scores.from_row(block.first) : s_.scores;
      masked_scores(head_, block, d_k_, q, s_.k_transposed, scores);
      multiply(Left::plain, block.count, d_v_, block.columns, scores, v, s_.o.from_row(block.first));
    }
    if (has_state_before(i))
      add_from_state(count, d_k_, d_v_, q, weights.xi, state(s_.states, i), s_.weighted, s_.o);
    if (has_state_behind(i)) {
      add_from_state(count, d_k_, d_v_, q, weights.xi_up, state(s_.later_states, i), s_.weighted, s_.o);
    }
    finish_rows_gradient(head_.shape, count, row_scale, s_.o, head_.g.from_row(first),
                         head_.d_y.from_row(first), head_.d_g.from_row(first), d_o, s_.numbers);
  }

  void go_up(std::size_t i, State& d_state) const {
    const std::size_t first = plan_.first(i), count = plan_.count(i);
    const Input q = s_.q.from_row(first), k = s_.k.from_row(first), v = head_.v.from_row(first);
    const Input d_o = s_.d_o.from_row(first);
    const Output d_v = head_.d_v.from_row(first);
    const ChunkWeights weights = weights_of(head_, i);
    if (!s_.kept_scores) transpose(count, d_k_, 1, k, s_.k_transposed);
    transpose(count, d_v_, 1, v, s_.v_transposed);
    // From the last block, which sees every token that any block sees, to the first: only it begins sums over
    // rows.
    const RowBlocks blocks{plan_, count};
    for (std::size_t b = blocks.size(); b-- > 0;) {
      const RowBlock block = blocks[b];
      const Sum sum = b + 1 == blocks.size() ? Sum::fresh : Sum::added;
      masked_scores(head_, block, d_v_, d_o, s_.v_transposed, s_.scores);
      multiply(Left::plain, block.count, d_k_, block.columns, s_.scores, k, s_.d_q.from_row(block.first));
      multiply(Left::transposed, block.columns, d_k_, block.count, s_.scores, q.from_row(block.first), s_.d_k,
               sum);
      if (!s_.kept_scores) masked_scores(head_, block, d_k_, q, s_.k_transposed, s_.scores);
      multiply(Left::transposed, block.columns, d_v_, block.count,
               s_.kept_scores ? s_.kept_scores.from_row(block.first) : s_.scores, d_o.from_row(block.first),
               d_v, sum);
    }
    if (has_state_before(i)) add_to_d_q(count, d_o, weights.xi, state(s_.states, i));
    if (has_state_behind(i)) add_to_d_q(count, d_o, weights.xi_up, state(s_.later_states, i));
    if (!d_state.empty) add_to_d_k_and_d_v(count, k, v, weights.zeta, d_state.values, d_v);
    if (plan_.bidirectional && i > 0) {
      add_to_d_k_and_d_v(count, k, v, weights.zeta_up, state(s_.d_later_states, i), d_v);
    }
    if (has_state_before(i) || head_.d_state_in) {
      add_to_state(count, d_k_, d_v_, q, weights.xi, d_o, weights.carry, s_.weighted, d_state);
    }
    rotate_rows(head_, Turn::back, first, count, 1, s_.d_q, head_.d_q.from_row(first));
    rotate_rows(head_, Turn::back, first, count, head_.shape.key_scale, s_.d_k, head_.d_k.from_row(first));
  }

  // d_q += weights ⊙ (d_o·stateᵀ).
  void add_to_d_q(std::size_t count, Input d_o, const float* weights, Input of_state) const {
    transpose(d_k_, d_v_, 1, of_state, s_.transposed_state);
    add_from_state(count, d_v_, d_k_, d_o, weights, s_.transposed_state, s_.weighted, s_.d_q);
  }
  // d_k += weights ⊙ (v·d_stateᵀ), d_v += weights ⊙ (k·d_state).
  void add_to_d_k_and_d_v(std::size_t count, Input k, Input v, const float* weights, Input d_state,
                          Output d_v) const {
    transpose(d_k_, d_v_, 1, d_state, s_.transposed_state);
    add_from_state(count, d_v_, d_k_, v, weights, s_.transposed_state, s_.weighted, s_.d_k);
    add_from_state(count, d_k_, d_v_, k, weights, d_state, s_.weighted, d_v);
  }

  const RetentionHead& head_;
  const GradientScratch& s_;
  const ChunkPlan& plan_;
  const std::size_t d_k_, d_v_;
};

void run_retention_gradient(RetentionHead head, float* memory) {
  Scratch scratch(memory);
  const GradientScratch s(scratch, head.shape);
  make_own_tables(head, s.own_tables);
  Gradient(head, s).run();
}

std::size_t retention_gradient_floats(const RetentionShape& shape) {
  Scratch scratch;
  GradientScratch(scratch, shape);
  return scratch.floats();
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(run_retention_gradient);
HWY_EXPORT(retention_gradient_floats);

namespace {

template <class Op>
std::size_t floats_of(const Op& op) {
  return HWY_DYNAMIC_DISPATCH(retention_gradient_floats)(shape_of(op));
}

template <class Op>
void run_all_heads(const Op& op) {
  const RetentionShape shape = shape_of(op);
  const std::int64_t heads = op.q.extent(2);
  for_tasks(op.q.extent(0) * heads, op.workspace, floats_of(op), [&](std::int64_t task, float* memory) {
    HWY_DYNAMIC_DISPATCH(run_retention_gradient)
    (head_of_op(op, shape, task / heads, task % heads), memory);
  });
}

}  // namespace

std::size_t workspace_bytes(const ops::RetentionGradient& op) {
  return bytes_for_threads(floats_of(op));
}
std::size_t workspace_bytes(const ops::RetentionBlockGradient& op) {
  return bytes_for_threads(floats_of(op));
}
void run(const ops::RetentionGradient& op) {
  run_all_heads(op);
}
void run(const ops::RetentionBlockGradient& op) {
  run_all_heads(op);
}

}  // namespace vretnet::onednn
#endif
