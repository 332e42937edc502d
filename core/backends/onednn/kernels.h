// The ops that this backend runs by loops of its own. Equations and shapes: core/ops/ops.h. Every view is f32
// (Convert's may be f64); work is shared out among omp_get_max_threads() threads, equal counts giving equal
// bits.
#pragma once

#include <cstddef>

#include "core/ops/ops.h"

namespace vretnet::onednn {

void run(const ops::Convert& op);
void run(const ops::ColumnSum& op);
void run(const ops::Depthwise& op);
void run(const ops::DepthwiseInputGradient& op);
void run(const ops::DepthwiseWeightGradient& op);
void run(const ops::Patches& op);
void run(const ops::Add& op);
void run(const ops::BroadcastAdd& op);
void run(const ops::ScaleSamples& op);
void run(const ops::Activation& op);
void run(const ops::ActivationGradient& op);
void run(const ops::Gate& op);
void run(const ops::GateGradient& op);
void run(const ops::LayerNorm& op);
void run(const ops::LayerNormGradient& op);
void run(const ops::HeadNorm& op);
void run(const ops::HeadNormGradient& op);
void run(const ops::Rotate& op);
void run(const ops::DecayPowers& op);
void run(const ops::HeadDot& op);
void run(const ops::PoolTokens& op);
void run(const ops::PoolTokensGradient& op);
void run(const ops::Softmax& op);
void run(const ops::SoftmaxGradient& op);
void run(const ops::CrossEntropy& op);
void run(const ops::SquaredNorm& op);
void run(const ops::AdamW& op);
void run(const ops::Lerp& op);

std::size_t workspace_bytes(const ops::ColumnSum& op);
std::size_t workspace_bytes(const ops::DepthwiseWeightGradient& op);
std::size_t workspace_bytes(const ops::LayerNormGradient& op);
std::size_t workspace_bytes(const ops::SquaredNorm& op);
inline std::size_t workspace_bytes(const ops::HeadDot&) {
  return 0;
}

// y (+)= activation(z) + residual; z may be y. The part of a Gemm that oneDNN has no fast form of.
void run_epilogue(const View& z, const View& residual, const View& y, ops::ActivationKind kind,
                  ops::Write write);

}  // namespace vretnet::onednn
