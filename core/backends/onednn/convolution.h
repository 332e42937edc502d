// Convolutions by oneDNN, NHWC, in the weight layout that it likes best: weights are reordered in the
// workspace.
#pragma once

#include <cstddef>

#include "core/backends/onednn/primitives.h"
#include "core/ops/ops.h"

namespace vretnet::onednn {

std::size_t workspace_bytes(const ops::Convolution& op, Primitives& primitives);
std::size_t workspace_bytes(const ops::ConvolutionInputGradient& op, Primitives& primitives);
std::size_t workspace_bytes(const ops::ConvolutionWeightGradient& op, Primitives& primitives);
void run(const ops::Convolution& op, Primitives& primitives);
void run(const ops::ConvolutionInputGradient& op, Primitives& primitives);
void run(const ops::ConvolutionWeightGradient& op, Primitives& primitives);

}  // namespace vretnet::onednn
