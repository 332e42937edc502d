// Gemm by oneDNN's matmul.
#pragma once

#include <cstddef>

#include "core/backends/onednn/primitives.h"
#include "core/ops/ops.h"

namespace vretnet::onednn {

std::size_t workspace_bytes(const ops::Gemm& op, Primitives& primitives);
void run(const ops::Gemm& op, Primitives& primitives);

}  // namespace vretnet::onednn
