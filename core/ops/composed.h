// The fused ops as compositions of simpler ones (Rotate, Retention, HeadNorm, Gate and their gradients,
// HeadDot), on any backend: what a fused kernel must equal, and what a backend without one calls.
#pragma once

#include <cstddef>

#include "core/ops/backend.h"

namespace vretnet::ops {

// op.workspace holds composed_workspace_bytes(backend, op): the tensors between the simpler ops, and the
// workspace that `backend` asks for these.
void run_composed(Backend& backend, const RetentionBlock& op);
void run_composed(Backend& backend, const RetentionBlockGradient& op);

std::size_t composed_workspace_bytes(const Backend& backend, const RetentionBlock& op);
std::size_t composed_workspace_bytes(const Backend& backend, const RetentionBlockGradient& op);

}  // namespace vretnet::ops
