#include "core/backends/onednn/mixers/retention_head.h"

#include <cmath>
#include <cstdlib>

namespace vretnet::onednn {
namespace {

// The recurrent form where states of all chunks are kept (both directions, gradients): a state a token would
// be d_k · d_v floats a token, and chunks of any length give the same result.
constexpr std::size_t kRecurrentChunk = 64;

enum class Pass : std::uint8_t { forward, gradient };

ChunkPlan plan_of(const ops::RetentionPattern& pattern, const ops::DecayTables& tables, std::int64_t tokens,
                  Pass pass) {
  ChunkPlan plan;
  plan.tokens = static_cast<std::size_t>(tokens);
  plan.bidirectional = pattern.bidirectional;
  const bool by_row = pattern.decay == ops::DecayKind::row;
  if (!pattern.bidirectional) plan.row_width = by_row ? static_cast<std::size_t>(pattern.row_width) : 1;
  if (pattern.form != ops::RetentionForm::recurrent) {
    plan.chunk = static_cast<std::size_t>(tables.mask.extent(1));
  } else {
    plan.own_tables = true;
    plan.step_is_chunk = by_row;
    const bool keeps_states = pattern.bidirectional || pass == Pass::gradient;
    plan.chunk = by_row ? static_cast<std::size_t>(pattern.row_width)
                        : std::min(plan.tokens, keeps_states ? kRecurrentChunk : 1);
  }
  if (plan.tokens > 0) plan.chunks = (plan.tokens + plan.chunk - 1) / plan.chunk;
  return plan;
}

template <class Op>
RetentionShape common_shape(const Op& op, Pass pass) {
  RetentionShape shape;
  shape.plan = plan_of(op.pattern, op.tables, op.q.extent(1), pass);
  shape.key_width = static_cast<std::size_t>(op.q.extent(3));
  shape.value_width = static_cast<std::size_t>(op.v.extent(3));
  if constexpr (requires { op.head_norm; }) {
    shape.norm = op.head_norm == ops::HeadNormKind::layer ? RowNorm::layer : RowNorm::rms;
    shape.epsilon = op.epsilon;
    shape.key_scale = op.key_scale;
  }
  if constexpr (requires { op.state_in; }) shape.state_in = static_cast<bool>(op.state_in);
  return shape;
}

const float* row_of(const View& table, std::int64_t head) {
  return table && table.elements() > 0 ? table.data<float>() + head * table.stride(0) : nullptr;
}
Output matrix_of(const View& view) {
  return view ? Output{view.data<float>(), view.stride(0)} : Output();
}
Output state_of(const View& states, std::int64_t image, std::int64_t head) {
  if (!states) return {};
  return {states.data<float>() + image * states.stride(0) + head * states.stride(1), states.stride(2)};
}

template <class Op>
RetentionHead common_head(const Op& op, const RetentionShape& shape, std::int64_t image, std::int64_t head) {
  RetentionHead result;
  result.shape = shape;
  result.q = head_of(op.q, image, head);
  result.k = head_of(op.k, image, head);
  result.v = head_of(op.v, image, head);
  const ops::DecayTables& tables = op.tables;
  result.gamma = tables.gamma ? *row_of(tables.gamma, head) : 0;
  if (!shape.plan.own_tables) result.tables.mask = {row_of(tables.mask, head), tables.mask.stride(1)};
  result.tables.xi = row_of(tables.xi, head);
  result.tables.zeta = row_of(tables.zeta, head);
  result.tables.carry = row_of(tables.carry, head);
  result.tables.xi_up = row_of(tables.xi_up, head);
  result.tables.zeta_up = row_of(tables.zeta_up, head);
  result.tables.row_scale = row_of(tables.row_scale, head);
  if constexpr (requires { op.g; }) {
    result.g = head_of(op.g, image, head);
    result.cosine = matrix_of(op.cosine);
    result.sine = matrix_of(op.sine);
  }
  if constexpr (requires { op.state_in; }) result.state_in = state_of(op.state_in, image, head);
  if constexpr (requires { op.state_out; }) result.state_out = state_of(op.state_out, image, head);
  if constexpr (requires { op.d_q; }) {
    result.d_q = head_of(op.d_q, image, head);
    result.d_k = head_of(op.d_k, image, head);
    result.d_v = head_of(op.d_v, image, head);
  }
  return result;
}

}  // namespace

RetentionShape shape_of(const ops::Retention& op) {
  RetentionShape shape = common_shape(op, Pass::forward);
  shape.state_out = static_cast<bool>(op.state_out);
  return shape;
}
RetentionShape shape_of(const ops::RetentionBlock& op) {
  RetentionShape shape = common_shape(op, Pass::forward);
  shape.state_out = static_cast<bool>(op.state_out);
  shape.accumulate = op.write == ops::Write::accumulate;
  return shape;
}
RetentionShape shape_of(const ops::RetentionGradient& op) {
  RetentionShape shape = common_shape(op, Pass::gradient);
  shape.state_out = static_cast<bool>(op.d_state_out);
  shape.d_state_in = static_cast<bool>(op.d_state_in);
  return shape;
}
RetentionShape shape_of(const ops::RetentionBlockGradient& op) {
  return common_shape(op, Pass::gradient);
}

RetentionHead head_of_op(const ops::Retention& op, const RetentionShape& shape, std::int64_t image,
                         std::int64_t head) {
  RetentionHead result = common_head(op, shape, image, head);
  result.y = head_of(op.o, image, head);
  return result;
}
RetentionHead head_of_op(const ops::RetentionBlock& op, const RetentionShape& shape, std::int64_t image,
                         std::int64_t head) {
  RetentionHead result = common_head(op, shape, image, head);
  result.y = head_of(op.y, image, head);
  return result;
}
RetentionHead head_of_op(const ops::RetentionGradient& op, const RetentionShape& shape, std::int64_t image,
                         std::int64_t head) {
  RetentionHead result = common_head(op, shape, image, head);
  result.d_y = head_of(op.d_o, image, head);
  result.d_state_out = state_of(op.d_state_out, image, head);
  result.d_state_in = state_of(op.d_state_in, image, head);
  return result;
}
RetentionHead head_of_op(const ops::RetentionBlockGradient& op, const RetentionShape& shape,
                         std::int64_t image, std::int64_t head) {
  RetentionHead result = common_head(op, shape, image, head);
  result.d_y = head_of(op.d_y, image, head);
  result.d_g = head_of(op.d_g, image, head);
  return result;
}

std::size_t own_tables_floats(const ChunkPlan& plan) {
  return plan.own_tables ? plan.chunk * padded(plan.chunk) + 4 * padded(plan.chunk) + kPadding : 0;
}

void make_own_tables(RetentionHead& head, float* memory) {
  const ChunkPlan& plan = head.shape.plan;
  if (!plan.own_tables) return;
  const std::size_t chunk = plan.chunk;
  const auto power = [&](std::size_t k) {
    return static_cast<float>(std::pow(static_cast<double>(head.gamma), static_cast<double>(k)));
  };
  Scratch scratch(memory);
  const Output mask = scratch.take(chunk, padded(chunk));
  float *xi = scratch.take(chunk), *zeta = scratch.take(chunk), *xi_up = scratch.take(chunk);
  float *zeta_up = scratch.take(chunk), *carry = scratch.take(2);
  const std::size_t last = plan.count(plan.chunks - 1);
  for (std::size_t j = 0; j < chunk; ++j) {  // the powers, once
    zeta_up[j] = power(j);
  }
  for (std::size_t j = 0; j < chunk; ++j) {
    const std::size_t visible = plan.visible(j, chunk);
    for (std::size_t l = 0; l < chunk; ++l) mask.row(j)[l] = l < visible ? zeta_up[l < j ? j - l : l - j] : 0;
  }
  for (std::size_t j = 0; j < chunk; ++j) {
    zeta[j] = plan.step_is_chunk ? 1 : zeta_up[chunk - 1 - j];
    xi[j] = plan.step_is_chunk ? head.gamma : head.gamma * zeta_up[j];
    xi_up[j] = plan.step_is_chunk ? head.gamma : head.gamma * zeta_up[chunk - 1 - j];
  }
  carry[0] = plan.step_is_chunk ? head.gamma : power(chunk);
  carry[1] = plan.step_is_chunk ? head.gamma : power(last);
  if (plan.step_is_chunk) std::fill_n(zeta_up, chunk, 1.0f);
  head.tables.mask = mask;
  head.tables.xi = xi;
  head.tables.zeta = zeta;
  head.tables.carry = carry;
  head.tables.xi_up = xi_up;
  head.tables.zeta_up = zeta_up;
}

}  // namespace vretnet::onednn
