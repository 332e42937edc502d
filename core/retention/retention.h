// Retention and its gradient in plain loops, in any form: the definition that faster kernels are held
// against. T is the dtype of the op (float or double); sums run in T. Nothing is allocated.
#pragma once

#include <cstddef>

#include "core/ops/ops.h"

namespace vretnet::retention {

// Views as in ops.h, token strides of any sign; op.workspace holds workspace_bytes(op)
// (core/ops/workspace.h).
template <class T>
void run(const ops::Retention& op);
template <class T>
void run(const ops::RetentionGradient& op);

std::size_t workspace_bytes(const ops::Retention& op);
std::size_t workspace_bytes(const ops::RetentionGradient& op);

}  // namespace vretnet::retention
