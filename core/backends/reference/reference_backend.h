// The oracle: every op as plain loops that follow its formula, in float or in double, one thread, no tricks.
// Deterministic. The other backends are compared with it (core/conformance).
#pragma once

#include <memory>

#include "core/ops/backend.h"

namespace vretnet::reference {

std::unique_ptr<Backend> make_reference_backend();

// Runs `op` on Tracked numbers (tracked.h): its f64 views are laid over buffers of Tracked elements, so
// offsets and strides count those. Needs no workspace.
void run_tracked(const ops::Op& op);

}  // namespace vretnet::reference
