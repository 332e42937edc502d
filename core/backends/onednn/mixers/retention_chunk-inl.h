// The pieces of the chunk machine (ops.h, DecayTables) that the forward pass and the gradient share.
#if defined(VRETNET_MIXERS_RETENTION_CHUNK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VRETNET_MIXERS_RETENTION_CHUNK_INL_H_
#undef VRETNET_MIXERS_RETENTION_CHUNK_INL_H_
#else
#define VRETNET_MIXERS_RETENTION_CHUNK_INL_H_
#endif

#include "core/backends/onednn/mixers/retention_rows-inl.h"
#include "core/backends/onednn/mixers/small_gemm.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {

// Rows of a chunk's score matrix that are made at once. Causal blocks are lower: they skip more of the upper
// triangle.
constexpr std::size_t kRows = 48, kCausalRows = 24;

struct RowBlock {
  std::size_t first, count, columns;  // columns: what its last row sees
};
// The row blocks of a chunk of `count` tokens, about equal.
struct RowBlocks {
  const ChunkPlan& plan;
  std::size_t tokens;  // of the chunk

  std::size_t size() const {
    const std::size_t largest = plan.row_width > 0 ? kCausalRows : kRows;
    return (tokens + largest - 1) / largest;
  }
  RowBlock operator[](std::size_t i) const {
    const std::size_t first = tokens * i / size(), end = tokens * (i + 1) / size();
    return {first, end - first, plan.visible(end - 1, tokens)};
  }
};

// The tables of chunk i: a shorter last chunk uses the ends of ζ and ξ'.
struct ChunkWeights {
  const float *xi, *zeta, *xi_up, *zeta_up;
  float carry;
};
HWY_INLINE ChunkWeights weights_of(const RetentionHead& head, std::size_t i) {
  const ChunkPlan& plan = head.shape.plan;
  const std::size_t missing = plan.chunk - plan.count(i);
  const ChunkTables& tables = head.tables;
  return {tables.xi, tables.zeta ? tables.zeta + missing : nullptr,
          tables.xi_up ? tables.xi_up + missing : nullptr, tables.zeta_up,
          tables.carry ? tables.carry[missing > 0] : 0};
}

HWY_INLINE const float* row_scale_of(const RetentionHead& head, std::size_t first) {
  return head.tables.row_scale ? head.tables.row_scale + first : nullptr;
}

// scores = (a bᵀ) ⊙ D_B for the rows of a block; b comes transposed, its padding zeros.
HWY_INLINE void masked_scores(const RetentionHead& head, const RowBlock& block, std::size_t width, Input a,
                              Input b_transposed, Output scores) {
  multiply(Left::plain, block.count, padded(block.columns), width, a.from_row(block.first), b_transposed,
           scores);
  for (std::size_t r = 0; r < block.count; ++r) {
    const float* mask = head.tables.mask.row(block.first + r);
    float* score = scores.row(r);
    for_each_vector(block.columns, [&](std::size_t i, std::size_t count) HWY_ATTR {
      hn::Store(hn::Mul(hn::Load(Floats(), score + i), load_some(mask + i, count)), Floats(), score + i);
    });
  }
}

// A state, [a's width, b's width]: empty, or the sum of earlier chunks.
struct State {
  Output values;
  bool empty = true;
};

// state = aᵀ (weights ⊙ b) + carry · state over the tokens of a chunk.
HWY_INLINE void add_to_state(std::size_t tokens, std::size_t a_width, std::size_t b_width, Input a,
                             const float* weights, Input b, float carry, Output weighted, State& state) {
  scale_rows(tokens, b_width, weights, b, weighted);
  multiply(Left::transposed, a_width, b_width, tokens, a, weighted, state.values,
           state.empty ? Sum::fresh : Sum::added, carry);
  state.empty = false;
}

// y += (weights ⊙ a)·state over the tokens of a chunk.
HWY_INLINE void add_from_state(std::size_t tokens, std::size_t a_width, std::size_t y_width, Input a,
                               const float* weights, Input state, Output weighted, Output y) {
  scale_rows(tokens, a_width, weights, a, weighted);
  multiply(Left::plain, tokens, y_width, a_width, weighted, state, y, Sum::added);
}

// A state that leaves the op; what was never added to is zero.
HWY_INLINE void put_state(const RetentionShape& shape, const State& state, Output y) {
  if (!y) return;
  for (std::size_t r = 0; r < shape.key_width; ++r) {
    if (state.empty) {
      std::fill_n(y.row(r), shape.value_width, 0.0f);
    } else {
      std::copy_n(state.values.row(r), shape.value_width, y.row(r));
    }
  }
}

}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // toggle
