// One head of softmax attention, as the kernels see it, and how its queries and keys are cut into blocks.
//
// Scores are kept transposed, [keys, queries]: a softmax over keys is then a sum over rows, vector by vector,
// without a sum across lanes; the queries alone are transposed beforehand; and the products that follow read
// scores as their left operand, for which either orientation costs the same.
#pragma once

#include <cstdint>

#include "core/backends/onednn/mixers/matrix.h"
#include "core/ops/ops.h"

namespace vretnet::onednn {

struct AttentionHead {
  std::size_t tokens = 0, width = 0;
  float scale = 1;
  Input q, k, v;
  Output o;                      // forward
  float* log_sum_exp = nullptr;  // may be null in the forward pass
  Input d_o;                     // gradient
  Output d_q, d_k, d_v;
};

struct Block {
  std::size_t first, count;
};
// Block i of `total` things in blocks of at most `largest`, about equal, cut at multiples of kPadding.
inline std::size_t blocks_of(std::size_t total, std::size_t largest) {
  return (total + largest - 1) / largest;
}
inline Block block_of(std::size_t i, std::size_t total, std::size_t largest) {
  const std::size_t units = padded(total) / kPadding, blocks = blocks_of(total, largest);
  const std::size_t first = units * i / blocks * kPadding, end = units * (i + 1) / blocks * kPadding;
  return {first, std::min(end, total) - first};
}

// Rank-3 [batch, heads, tokens] views have contiguous tokens.
template <class Op>
AttentionHead head_of_attention(const Op& op, std::int64_t image, std::int64_t head) {
  AttentionHead result;
  result.tokens = static_cast<std::size_t>(op.q.extent(1));
  result.width = static_cast<std::size_t>(op.q.extent(3));
  result.scale = op.scale;
  result.q = head_of(op.q, image, head);
  result.k = head_of(op.k, image, head);
  result.v = head_of(op.v, image, head);
  if (op.log_sum_exp) {
    result.log_sum_exp = op.log_sum_exp.template data<float>() + image * op.log_sum_exp.stride(0) +
                         head * op.log_sum_exp.stride(1);
  }
  return result;
}

}  // namespace vretnet::onednn
