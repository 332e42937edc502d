// One head of retention, as the kernels see it. The ops Retention and RetentionBlock, and their gradients,
// are one computation here: without rotation, norm and gate the block is plain retention.
#pragma once

#include <cstdint>

#include "core/backends/onednn/mixers/matrix.h"
#include "core/ops/ops.h"

namespace vretnet::onednn {

enum class RowNorm : std::uint8_t { none, layer, rms };

// What the chunk machine (core/ops/ops.h, DecayTables) does with a sequence. Every form is one of chunks:
// parallel is one chunk of all tokens, recurrent has chunks of one step (a token or a patch row).
struct ChunkPlan {
  std::size_t tokens = 0, chunk = 0, chunks = 0;
  std::size_t row_width =
      0;  // causal only: a token sees its own row (raster: 1) and what is before; 0: all tokens
  bool bidirectional = false;
  bool own_tables = false;  // recurrent: the op gives γ only, the tables of a chunk are made from its powers
  bool step_is_chunk = false;  // own tables: the state decays once a chunk (a patch row), not once a token

  std::size_t first(std::size_t i) const { return i * chunk; }
  std::size_t count(std::size_t i) const { return std::min(chunk, tokens - i * chunk); }
  // Tokens of the chunk that its token r sees: the rest of the mask's row is 0.
  std::size_t visible(std::size_t r, std::size_t count) const {
    return row_width == 0 ? count : std::min(count, (r / row_width + 1) * row_width);
  }
};

// DecayTables of one head.
struct ChunkTables {
  Input mask;
  const float *xi = nullptr, *zeta = nullptr, *carry = nullptr, *xi_up = nullptr, *zeta_up = nullptr;
  const float* row_scale = nullptr;  // may be null: 1
};

// Sizes and options of an op: all that its scratch memory depends on.
struct RetentionShape {
  ChunkPlan plan;
  std::size_t key_width = 0, value_width = 0;
  bool state_in = false, state_out = false;  // gradient: whether ∂loss/∂state_out comes in
  bool d_state_in = false;
  RowNorm norm = RowNorm::none;
  float epsilon = 0, key_scale = 1;
  bool accumulate = false;  // y += …
};

struct RetentionHead {
  RetentionShape shape;
  float gamma = 0;
  ChunkTables tables;
  Input q, k, v, g;        // no g: no gate
  Input cosine, sine;      // [tokens, key_width/2]; none: no rotation
  Input state_in;          // [key_width, value_width]
  Output state_out, y;     // forward
  Input d_y, d_state_out;  // gradient
  Output d_q, d_k, d_v, d_g, d_state_in;
};

RetentionShape shape_of(const ops::Retention& op);
RetentionShape shape_of(const ops::RetentionBlock& op);
RetentionShape shape_of(const ops::RetentionGradient& op);
RetentionShape shape_of(const ops::RetentionBlockGradient& op);

RetentionHead head_of_op(const ops::Retention& op, const RetentionShape& shape, std::int64_t image,
                         std::int64_t head);
RetentionHead head_of_op(const ops::RetentionBlock& op, const RetentionShape& shape, std::int64_t image,
                         std::int64_t head);
RetentionHead head_of_op(const ops::RetentionGradient& op, const RetentionShape& shape, std::int64_t image,
                         std::int64_t head);
RetentionHead head_of_op(const ops::RetentionBlockGradient& op, const RetentionShape& shape,
                         std::int64_t image, std::int64_t head);

// Where the op gives γ only (plan.own_tables): the tables of one head, in `memory` of
// own_tables_floats(plan).
std::size_t own_tables_floats(const ChunkPlan& plan);
void make_own_tables(RetentionHead& head, float* memory);

}  // namespace vretnet::onednn
