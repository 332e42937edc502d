// The ops that this backend runs by kernels of its own. Equations and shapes: core/ops/ops.h. Every view is
// f32 or bf16, as fields.h allows (QuantizedGemm's b is s8), and lies on the stream's device; work is queued,
// in order, and nothing waits for the host.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "core/ops/ops.h"

namespace vretnet::cuda {

void run(const ops::QuantizedGemm& op, cudaStream_t stream);
void run(const ops::Convert& op, cudaStream_t stream);
void run(const ops::ColumnSum& op, cudaStream_t stream);
void run(const ops::Depthwise& op, cudaStream_t stream);
void run(const ops::DepthwiseInputGradient& op, cudaStream_t stream);
void run(const ops::DepthwiseWeightGradient& op, cudaStream_t stream);
void run(const ops::Patches& op, cudaStream_t stream);
void run(const ops::Add& op, cudaStream_t stream);
void run(const ops::BroadcastAdd& op, cudaStream_t stream);
void run(const ops::ScaleSamples& op, cudaStream_t stream);
void run(const ops::Activation& op, cudaStream_t stream);
void run(const ops::ActivationGradient& op, cudaStream_t stream);
void run(const ops::Gate& op, cudaStream_t stream);
void run(const ops::GateGradient& op, cudaStream_t stream);
void run(const ops::LayerNorm& op, cudaStream_t stream);
void run(const ops::LayerNormGradient& op, cudaStream_t stream);
void run(const ops::HeadNorm& op, cudaStream_t stream);
void run(const ops::HeadNormGradient& op, cudaStream_t stream);
void run(const ops::Rotate& op, cudaStream_t stream);
void run(const ops::Retention& op, cudaStream_t stream);
void run(const ops::RetentionGradient& op, cudaStream_t stream);
void run(const ops::RetentionBlock& op, cudaStream_t stream);
void run(const ops::DecayPowers& op, cudaStream_t stream);
void run(const ops::HeadDot& op, cudaStream_t stream);
void run(const ops::Attention& op, cudaStream_t stream);
void run(const ops::AttentionGradient& op, cudaStream_t stream);
void run(const ops::PoolTokens& op, cudaStream_t stream);
void run(const ops::PoolTokensGradient& op, cudaStream_t stream);
void run(const ops::Softmax& op, cudaStream_t stream);
void run(const ops::SoftmaxGradient& op, cudaStream_t stream);
void run(const ops::CrossEntropy& op, cudaStream_t stream);
void run(const ops::SquaredNorm& op, cudaStream_t stream);
void run(const ops::AdamW& op, cudaStream_t stream);
void run(const ops::Lerp& op, cudaStream_t stream);

inline std::size_t workspace_bytes(const ops::QuantizedGemm&) {
  return 0;
}
std::size_t workspace_bytes(const ops::ColumnSum& op);
std::size_t workspace_bytes(const ops::DepthwiseWeightGradient& op);
std::size_t workspace_bytes(const ops::LayerNormGradient& op);
std::size_t workspace_bytes(const ops::Retention& op);
std::size_t workspace_bytes(const ops::RetentionGradient& op);
std::size_t workspace_bytes(const ops::RetentionBlock& op);
std::size_t workspace_bytes(const ops::HeadDot& op);
std::size_t workspace_bytes(const ops::Attention& op);
std::size_t workspace_bytes(const ops::AttentionGradient& op);
std::size_t workspace_bytes(const ops::SquaredNorm& op);

// y (+)= activation(z) + residual; z may be y, residual may be not given. What cuBLASLt has no epilogue for.
void run_epilogue(const View& z, const View& residual, const View& y, ops::ActivationKind kind,
                  ops::Write write, cudaStream_t stream);
// y (+)= swish(g) ⊙ HeadNorm(x); without g the gate is 1.
void run_gated_norm(const View& x, const View& g, const View& y, ops::HeadNormKind kind, float epsilon,
                    ops::Write write, cudaStream_t stream);
// y += bias along the rows, y in f32 and bias in bf16: cuBLASLt wants both in one dtype.
void run_wide_bias(const View& bias, const View& y, cudaStream_t stream);
// y = value.
void run_fill(const View& y, float value, cudaStream_t stream);

}  // namespace vretnet::cuda
