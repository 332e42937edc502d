#include "core/retention/retention.h"

#include "core/base/check.h"

namespace vretnet::retention {
namespace {

// Retention and its gradient share names: q, v, pattern, tables.
void check_op(const auto& op) {
  const ops::RetentionPattern& pattern = op.pattern;
  const std::int64_t tokens = op.q.extent(1);
  if (pattern.decay == ops::DecayKind::row) {
    check(pattern.row_width > 0 && tokens % pattern.row_width == 0, "{} tokens in rows of {}", tokens,
          pattern.row_width);
  }
  check(!pattern.bidirectional || !op.state_in, "a bidirectional retention takes a state of {}",
        op.state_in.shape().text());
  if (pattern.form == ops::RetentionForm::recurrent) return;
  const bool chunkwise = pattern.form == ops::RetentionForm::chunkwise;
  const std::int64_t chunk = chunkwise ? pattern.chunk : tokens;
  check(op.tables.mask && op.tables.mask.extent(1) == chunk && chunk > 0,
        "a mask of {} for chunks of {} tokens", op.tables.mask.shape().text(), chunk);
  const bool has_state_tables = op.tables.xi && op.tables.zeta && op.tables.carry;
  check(has_state_tables || (pattern.bidirectional && !chunkwise), "tables xi, zeta or carry are missing");
  const bool has_tables_up = op.tables.xi_up && op.tables.zeta_up;
  check(has_tables_up || !pattern.bidirectional || !chunkwise, "tables xi_up or zeta_up are missing");
}

std::size_t scratch_bytes(const auto& op) {
  ops::Workspace workspace;
  take_scratch(op, workspace);
  return workspace.bytes();
}

}  // namespace

void check_tables(const ops::Retention& op) {
  check_op(op);
}
void check_tables(const ops::RetentionGradient& op) {
  check_op(op);
}

Scratch take_scratch(const ops::Retention& op, ops::Workspace& workspace) {
  return {.states = workspace.take(op.q.dtype(), {2, op.q.extent(3), op.v.extent(3)})};
}

Scratch take_scratch(const ops::RetentionGradient& op, ops::Workspace& workspace) {
  Scratch scratch{.states = workspace.take(op.q.dtype(), {3, op.q.extent(3), op.v.extent(3)})};
  if (op.tables.row_scale) scratch.d_o = workspace.take(op.q.dtype(), {op.v.extent(1), op.v.extent(3)});
  return scratch;
}

std::size_t workspace_bytes(const ops::Retention& op) {
  return scratch_bytes(op);
}
std::size_t workspace_bytes(const ops::RetentionGradient& op) {
  return scratch_bytes(op);
}

}  // namespace vretnet::retention
