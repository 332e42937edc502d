// The reference on Tracked numbers (tracked.h): values in double beside a count of what rounding can have
// done to them, from which the conformance tests make their bounds.
#pragma once

#include <memory>

#include "core/backends/reference/tracked.h"
#include "core/ops/backend.h"

namespace vretnet::reference {

// Views of any floating dtype are laid over memory that has a Tracked for every two bytes (elements.h,
// spacing). A result in a bf16 view is charged with the rounding to it, one in any other with those of f32
// alone. `upload` and `download` move doubles, `fill` sets exact numbers. Views of s8 are plain bytes:
// integers are exact.
std::unique_ptr<Backend> make_tracked_backend();

}  // namespace vretnet::reference
