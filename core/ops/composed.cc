#include "core/ops/composed.h"

#include <algorithm>

#include "core/ops/workspace.h"

namespace vretnet::ops {
namespace {

// q and k as the retention wants them: turned, k scaled. Where nothing turns and nothing scales, they are the
// block's own. Rotate wants angles even where it only scales: without a table, cosine 1 and sine 0 for all
// tokens are made in `unit` [2, d_k/2].
struct Turned {
  View q, k;
  View unit;
};

Turned take_turned(const auto& block, Workspace& workspace) {
  Turned turned{.q = block.q, .k = block.k};
  const bool turns = static_cast<bool>(block.cosine), scales = block.key_scale != 1;
  const DType dtype = block.q.dtype();
  if (turns) turned.q = workspace.take(dtype, block.q.shape());
  if (turns || scales) turned.k = workspace.take(dtype, block.k.shape());
  if (scales && !turns) turned.unit = workspace.take(wide_of(dtype), {2, block.k.extent(3) / 2});
  return turned;
}

Rotate rotation_of(const auto& block, const Turned& turned) {
  Rotate rotate{.cosine = block.cosine, .sine = block.sine};
  if (turned.unit) {
    rotate.cosine = turned.unit.select(0, 0).broadcast(0, block.k.extent(1));
    rotate.sine = turned.unit.select(0, 1).broadcast(0, block.k.extent(1));
  }
  return rotate;
}

void turn(Backend& backend, const auto& block, const Turned& turned) {
  if (turned.unit) {
    backend.fill(turned.unit.select(0, 0), 1);
    backend.fill(turned.unit.select(0, 1), 0);
  }
  Rotate rotate = rotation_of(block, turned);
  if (block.cosine) {
    rotate.x = block.q;
    rotate.y = turned.q;
    backend.run(rotate);
  }
  if (rotate.cosine) {
    rotate.x = block.k;
    rotate.y = turned.k;
    rotate.scale = block.key_scale;
    backend.run(rotate);
  }
}

// The gradients of q and k from those of the turned ones, in place.
void turn_back(Backend& backend, const RetentionBlockGradient& block, const Turned& turned) {
  Rotate rotate = rotation_of(block, turned);
  rotate.inverse = true;
  if (block.cosine) {
    rotate.x = rotate.y = block.d_q;
    backend.run(rotate);
  }
  if (rotate.cosine) {
    rotate.x = rotate.y = block.d_k;
    rotate.scale = block.key_scale;
    backend.run(rotate);
  }
}

// Every tensor and op between a block's inputs and its outputs; nested workspace lies behind the tensors.
struct Forward {
  Turned turned;
  View o, normalized;
  Retention retention;
};

Forward plan(const Backend& backend, const RetentionBlock& block, Workspace& workspace) {
  Forward forward{.turned = take_turned(block, workspace)};
  forward.o = workspace.take(block.v.dtype(), block.v.shape());
  // Without a gate the norm writes y itself, unless it is to be added there.
  const bool norm_writes_y = !block.g && block.write == Write::overwrite;
  forward.normalized = norm_writes_y ? block.y : forward.o;
  forward.retention = {.q = forward.turned.q,
                       .k = forward.turned.k,
                       .v = block.v,
                       .o = forward.o,
                       .state_in = block.state_in,
                       .state_out = block.state_out,
                       .tables = block.tables,
                       .pattern = block.pattern};
  forward.retention.workspace = workspace.take_bytes(backend.workspace_bytes(forward.retention));
  return forward;
}

struct Backward {
  Turned turned;
  View o, normalized, d_normalized, d_o;
  Retention retention;
  RetentionGradient retention_gradient;
  // Learned decays: d_log_rate += Σ d_o ⊙ o', where o' is the retention by the derivative of D.
  Retention derivative;
  HeadDot decay_gradient;
};

Backward plan(const Backend& backend, const RetentionBlockGradient& block, Workspace& workspace) {
  Backward backward{.turned = take_turned(block, workspace)};
  const auto take_like_v = [&] { return workspace.take(block.v.dtype(), block.v.shape()); };
  backward.o = take_like_v();
  backward.d_o = take_like_v();
  backward.normalized = backward.d_o;  // needed only until the gate's gradient, d_o only after it
  backward.d_normalized = block.g ? take_like_v() : block.d_y;
  backward.retention = {.q = backward.turned.q,
                        .k = backward.turned.k,
                        .v = block.v,
                        .o = backward.o,
                        .tables = block.tables,
                        .pattern = block.pattern};
  backward.retention_gradient = {.q = backward.turned.q,
                                 .k = backward.turned.k,
                                 .v = block.v,
                                 .d_o = backward.d_o,
                                 .d_q = block.d_q,
                                 .d_k = block.d_k,
                                 .d_v = block.d_v,
                                 .tables = block.tables,
                                 .pattern = block.pattern};
  std::size_t nested_bytes = std::max(backend.workspace_bytes(backward.retention),
                                      backend.workspace_bytes(backward.retention_gradient));
  if (block.d_log_rate) {
    // What a causal token does not see is 0 in the derivative as well. o is needed no more.
    backward.derivative = {.q = backward.turned.q,
                           .k = backward.turned.k,
                           .v = block.v,
                           .o = backward.o,
                           .tables = {.gamma = block.tables.gamma,
                                      .mask = block.decay_derivative,
                                      .row_scale = block.tables.row_scale},
                           .pattern = {.form = RetentionForm::parallel, .bidirectional = true}};
    backward.decay_gradient = {.a = backward.o, .b = backward.d_o, .y = block.d_log_rate};
    nested_bytes = std::max({nested_bytes, backend.workspace_bytes(backward.derivative),
                             backend.workspace_bytes(backward.decay_gradient)});
  }
  const View nested = workspace.take_bytes(nested_bytes);
  backward.retention.workspace = backward.retention_gradient.workspace = nested;
  backward.derivative.workspace = backward.decay_gradient.workspace = nested;
  return backward;
}

std::size_t planned_bytes(const Backend& backend, const auto& block) {
  Workspace workspace;
  plan(backend, block, workspace);
  return workspace.bytes();
}

}  // namespace

void run_composed(Backend& backend, const RetentionBlock& op) {
  Workspace workspace(op.workspace);
  const Forward forward = plan(backend, op, workspace);
  turn(backend, op, forward.turned);
  backend.run(forward.retention);
  backend.run(HeadNorm{.x = forward.o, .y = forward.normalized, .kind = op.head_norm, .epsilon = op.epsilon});
  if (op.g) {
    backend.run(Gate{.g = op.g, .x = forward.normalized, .y = op.y, .write = op.write});
  } else if (op.write == Write::accumulate) {
    backend.run(Add{.a = op.y, .b = forward.normalized, .y = op.y});
  }
}

void run_composed(Backend& backend, const RetentionBlockGradient& op) {
  Workspace workspace(op.workspace);
  const Backward backward = plan(backend, op, workspace);
  turn(backend, op, backward.turned);
  backend.run(backward.retention);
  if (op.g) {
    backend.run(
        HeadNorm{.x = backward.o, .y = backward.normalized, .kind = op.head_norm, .epsilon = op.epsilon});
    backend.run(GateGradient{
        .g = op.g, .x = backward.normalized, .d_y = op.d_y, .d_g = op.d_g, .d_x = backward.d_normalized});
  }
  backend.run(HeadNormGradient{.x = backward.o,
                               .d_y = backward.d_normalized,
                               .d_x = backward.d_o,
                               .kind = op.head_norm,
                               .epsilon = op.epsilon});
  if (op.d_log_rate) {
    backend.run(backward.derivative);
    backend.run(backward.decay_gradient);
  }
  backend.run(backward.retention_gradient);
  turn_back(backend, op, backward.turned);
}

std::size_t composed_workspace_bytes(const Backend& backend, const RetentionBlock& op) {
  return planned_bytes(backend, op);
}

std::size_t composed_workspace_bytes(const Backend& backend, const RetentionBlockGradient& op) {
  return planned_bytes(backend, op);
}

}  // namespace vretnet::ops
