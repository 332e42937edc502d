// What an op costs, from its shapes alone: for `info`, `benchmark` and the profiler.
#pragma once

#include "core/ops/ops.h"

namespace vretnet::ops {

// Floating point operations, 2 a multiply-add; the retentions by the form they run in (MODEL.md "Cost"). Ops
// that are bound by memory count a few per element.
double flops(const Op& op);

// Bytes of the views that an op reads and writes, each once (twice where it adds to one); broadcast axes
// count once.
double bytes(const Op& op);

}  // namespace vretnet::ops
