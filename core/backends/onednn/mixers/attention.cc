// Softmax attention: o = softmax(scale · q kᵀ) v by online softmax over blocks of keys (Milakov & Gimelshein
// 2018; Dao et al. 2022), in powers of two: the queries carry scale · log2(e).
#include <limits>
#include <numbers>

#include "core/backends/onednn/mixers/attention_head.h"
#include "core/backends/onednn/mixers/mixers.h"
#include "core/backends/onednn/mixers/small_gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/mixers/attention.cc"
#include <hwy/foreach_target.h>
// After the targets:
#include <hwy/highway.h>

#include "core/backends/onednn/mixers/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

constexpr std::size_t kQueries = 64, kKeys = 256;  // a panel of 64 KiB beside the block's queries

struct AttentionScratch {
  Output queries, scores;  // [width, queries], [keys, queries]
  float *largest, *sum,
      *rescale;  // [queries]: of the keys so far; what the newest block of keys scales them by

  AttentionScratch(Scratch& scratch, std::size_t tokens, std::size_t width) {
    const std::size_t count = std::min(padded(tokens), kQueries);
    queries = scratch.take(width, count);
    scores = scratch.take(std::min(padded(tokens), kKeys), count);
    largest = scratch.take(count);
    sum = scratch.take(count);
    rescale = scratch.take(count);
  }
};

// Scores of `keys` more keys become 2^(score − largest), largest and sum are those of all keys so far.
void add_to_softmax(std::size_t keys, std::size_t queries, const AttentionScratch& s) {
  const Floats d;
  for (std::size_t q = 0; q < queries; q += kLanes) {
    const Vector before = hn::Load(d, s.largest + q);
    Vector largest = before;
    for (std::size_t k = 0; k < keys; ++k) largest = hn::Max(largest, hn::Load(d, s.scores.row(k) + q));
    const Vector rescale = power_of_two(hn::Sub(before, largest));
    Vector sum = hn::Mul(hn::Load(d, s.sum + q), rescale);
    for (std::size_t k = 0; k < keys; ++k) {
      float* score = s.scores.row(k) + q;
      const Vector power = power_of_two(hn::Sub(hn::Load(d, score), largest));
      sum = hn::Add(sum, power);
      hn::Store(power, d, score);
    }
    hn::Store(largest, d, s.largest + q);
    hn::Store(sum, d, s.sum + q);
    hn::Store(rescale, d, s.rescale + q);
  }
}

void run_attention(const AttentionHead& head, std::size_t block, float* memory) {
  const Floats d;
  Scratch scratch(memory);
  const AttentionScratch s(scratch, head.tokens, head.width);
  const auto [first, count] = block_of(block, head.tokens, kQueries);
  const Output o = head.o.from_row(first);
  transpose(count, head.width, head.scale * std::numbers::log2e_v<float>, head.q.from_row(first), s.queries);
  std::fill_n(s.largest, padded(count), std::numeric_limits<float>::lowest());
  std::fill_n(s.sum, padded(count), 0.0f);
  const std::size_t key_blocks = blocks_of(head.tokens, kKeys);
  for (std::size_t i = 0; i < key_blocks; ++i) {
    const Block keys = block_of(i, head.tokens, kKeys);
    multiply(Left::plain, keys.count, padded(count), head.width, head.k.from_row(keys.first), s.queries,
             s.scores);
    add_to_softmax(keys.count, count, s);
    if (i > 0) scale_rows(count, head.width, s.rescale, o, o);
    multiply(Left::transposed, count, head.width, keys.count, s.scores, head.v.from_row(keys.first), o,
             i > 0 ? Sum::added : Sum::fresh);
  }
  const Vector one = hn::Set(d, 1.0f), ln2 = hn::Set(d, std::numbers::ln2_v<float>);
  for_each_vector(count, [&](std::size_t i, std::size_t lanes) HWY_ATTR {
    const Vector sum = hn::Load(d, s.sum + i);
    hn::Store(hn::Div(one, sum), d, s.rescale + i);
    if (!head.log_sum_exp) return;
    const Vector log_sum_exp = hn::MulAdd(hn::Load(d, s.largest + i), ln2, hn::Log(d, sum));
    store_some(log_sum_exp, head.log_sum_exp + first + i, lanes);
  });
  scale_rows(count, head.width, s.rescale, o, o);
}

std::size_t attention_floats(std::size_t tokens, std::size_t width) {
  Scratch scratch;
  AttentionScratch(scratch, tokens, width);
  return scratch.floats();
}
std::size_t attention_query_blocks(std::size_t tokens) {
  return blocks_of(tokens, kQueries);
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(run_attention);
HWY_EXPORT(attention_floats);
HWY_EXPORT(attention_query_blocks);

namespace {
std::size_t floats_per_thread(const ops::Attention& op) {
  return HWY_DYNAMIC_DISPATCH(attention_floats)(op.q.extent(1), op.q.extent(3));
}
}  // namespace

std::size_t workspace_bytes(const ops::Attention& op) {
  return bytes_for_threads(floats_per_thread(op));
}

void run(const ops::Attention& op) {
  const std::int64_t heads = op.q.extent(2);
  const std::int64_t blocks = HWY_DYNAMIC_DISPATCH(attention_query_blocks)(op.q.extent(1));
  for_tasks(op.q.extent(0) * heads * blocks, op.workspace, floats_per_thread(op),
            [&](std::int64_t task, float* memory) {
              AttentionHead head = head_of_attention(op, task / blocks / heads, task / blocks % heads);
              head.o = head_of(op.o, task / blocks / heads, task / blocks % heads);
              HWY_DYNAMIC_DISPATCH(run_attention)(head, task % blocks, memory);
            });
}

}  // namespace vretnet::onednn
#endif
