#include "core/retention/retention.h"

namespace vretnet::retention {
namespace {

std::size_t scratch_bytes(const auto& op) {
  ops::Workspace workspace;
  take_scratch(op, workspace);
  return workspace.bytes();
}

}  // namespace

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
