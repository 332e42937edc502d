// The oracle: every op as plain loops that follow its formula, in float or in double, one thread, no tricks;
// in bf16 as rounded.h has it. Deterministic. The other backends are compared with it (core/conformance).
#pragma once

#include <memory>

#include "core/ops/backend.h"

namespace vretnet::reference {

std::unique_ptr<Backend> make_reference_backend();

}  // namespace vretnet::reference
