// The gradient of softmax attention, from q, k, v and log_sum_exp alone. With P the probabilities, recomputed
// block of queries by block: dV = Pᵀ dO, dP = dO Vᵀ, dS = scale · P ⊙ (dP − δ), δ_n = Σ_m P_nm dP_nm (= Σ
// dO_n·o_n), dQ = dS K, dK = dSᵀ Q.
#include <numbers>

#include "core/backends/onednn/mixers/attention_head.h"
#include "core/backends/onednn/mixers/mixers.h"
#include "core/backends/onednn/mixers/small_gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/mixers/attention_gradient.cc"
#include <hwy/foreach_target.h>
// After the targets:
#include <hwy/highway.h>

#include "core/backends/onednn/mixers/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

constexpr float kLog2e = std::numbers::log2e_v<float>;

// Two panels of all keys lie in the second-level cache: the longer the sequence, the fewer queries at a time.
std::size_t largest_block(std::size_t tokens) {
  return tokens <= 512 ? 64 : tokens <= 2048 ? 32 : 16;
}

struct GradientScratch {
  Output queries, d_o;      // [width, queries]
  Output scores, d_scores;  // [tokens, queries]
  float* log_sum_exp;       // [queries], base 2

  GradientScratch(Scratch& scratch, std::size_t tokens, std::size_t width) {
    const std::size_t count = std::min(padded(tokens), largest_block(tokens));
    queries = scratch.take(width, count);
    d_o = scratch.take(width, count);
    scores = scratch.take(tokens, count);
    d_scores = scratch.take(tokens, count);
    log_sum_exp = scratch.take(count);
  }
};

// scores become probabilities, d_scores (dP) become dS.
void softmax_gradient(std::size_t keys, std::size_t queries, float scale, const GradientScratch& s) {
  const Floats d;
  const Vector by = hn::Set(d, scale);
  for (std::size_t q = 0; q < queries; q += kLanes) {
    const Vector log_sum_exp = hn::Load(d, s.log_sum_exp + q);
    Vector delta = hn::Zero(d);
    for (std::size_t k = 0; k < keys; ++k) {
      float* score = s.scores.row(k) + q;
      const Vector probability = power_of_two(hn::Sub(hn::Load(d, score), log_sum_exp));
      delta = hn::MulAdd(probability, hn::Load(d, s.d_scores.row(k) + q), delta);
      hn::Store(probability, d, score);
    }
    for (std::size_t k = 0; k < keys; ++k) {
      float* d_score = s.d_scores.row(k) + q;
      const Vector difference = hn::Sub(hn::Load(d, d_score), delta);
      hn::Store(hn::Mul(hn::Mul(hn::Load(d, s.scores.row(k) + q), by), difference), d, d_score);
    }
  }
}

void run_attention_gradient(const AttentionHead& head, float* memory) {
  const Floats d;
  const std::size_t tokens = head.tokens, width = head.width;
  Scratch scratch(memory);
  const GradientScratch s(scratch, tokens, width);
  const std::size_t blocks = blocks_of(tokens, largest_block(tokens));
  for (std::size_t i = 0; i < blocks; ++i) {
    const auto [first, count] = block_of(i, tokens, largest_block(tokens));
    const Input q = head.q.from_row(first), d_o = head.d_o.from_row(first);
    const Sum sum = i > 0 ? Sum::added : Sum::fresh;
    transpose(count, width, head.scale * kLog2e, q, s.queries);
    transpose(count, width, 1, d_o, s.d_o);
    for_each_vector(count, [&](std::size_t j, std::size_t lanes) HWY_ATTR {
      const Vector natural = load_some(head.log_sum_exp + first + j, lanes);
      hn::Store(hn::Mul(natural, hn::Set(d, kLog2e)), d, s.log_sum_exp + j);
    });
    multiply(Left::plain, tokens, padded(count), width, head.k, s.queries, s.scores);
    multiply(Left::plain, tokens, padded(count), width, head.v, s.d_o, s.d_scores);
    softmax_gradient(tokens, count, head.scale, s);
    multiply(Left::plain, tokens, width, count, s.scores, d_o, head.d_v, sum);
    multiply(Left::plain, tokens, width, count, s.d_scores, q, head.d_k, sum);
    multiply(Left::transposed, count, width, tokens, s.d_scores, head.k, head.d_q.from_row(first));
  }
}

std::size_t attention_gradient_floats(std::size_t tokens, std::size_t width) {
  Scratch scratch;
  GradientScratch(scratch, tokens, width);
  return scratch.floats();
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(run_attention_gradient);
HWY_EXPORT(attention_gradient_floats);

namespace {
std::size_t floats_per_thread(const ops::AttentionGradient& op) {
  return HWY_DYNAMIC_DISPATCH(attention_gradient_floats)(op.q.extent(1), op.q.extent(3));
}
}  // namespace

std::size_t workspace_bytes(const ops::AttentionGradient& op) {
  return bytes_for_threads(floats_per_thread(op));
}

void run(const ops::AttentionGradient& op) {
  const std::int64_t heads = op.q.extent(2);
  for_tasks(op.q.extent(0) * heads, op.workspace, floats_per_thread(op),
            [&](std::int64_t task, float* memory) {
              AttentionHead head = head_of_attention(op, task / heads, task % heads);
              head.d_o = head_of(op.d_o, task / heads, task % heads);
              head.d_q = head_of(op.d_q, task / heads, task % heads);
              head.d_k = head_of(op.d_k, task / heads, task % heads);
              head.d_v = head_of(op.d_v, task / heads, task % heads);
              HWY_DYNAMIC_DISPATCH(run_attention_gradient)(head, memory);
            });
}

}  // namespace vretnet::onednn
#endif
