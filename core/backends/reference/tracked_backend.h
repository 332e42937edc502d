// The reference on Tracked numbers (tracked.h): values in double beside a count of what rounding can have
// done to them, from which the conformance tests make their bounds.
#pragma once

#include <memory>

#include "core/backends/reference/tracked.h"
#include "core/ops/backend.h"

namespace vretnet::reference {

// All views are f64 and are laid over memory of Tracked elements: offsets and strides count those. `allocate`
// is asked for bytes of f64 and returns memory for as many Tracked; `upload` and `download` move doubles,
// `fill` sets exact numbers. Convert works within f64 only. Views of s8 are plain bytes: integers are exact.
std::unique_ptr<Backend> make_tracked_backend();

}  // namespace vretnet::reference
