// Token mixers of the CPU backend: softmax attention and retention, forward and gradient, each fused per
// (image, head) so that a head's panels of scores stay in the core's cache. Equations: core/ops/ops.h.
//
// Every view is f32 with innermost stride 1; token strides may be negative and views may be slices of one
// QKVG buffer. Heads, and parts of heads (head_shares.h), are shared out among omp_get_max_threads() threads
// by a static schedule and never split sums, so results do not depend on the number of threads.
// `op.workspace` is a one-dimensional f32 view of at least workspace_bytes(op) bytes, which depend on shapes,
// options and the number of threads; nothing else is allocated.
#pragma once

#include <cstddef>

#include "core/ops/ops.h"

namespace vretnet::onednn {

std::size_t workspace_bytes(const ops::Attention& op);
std::size_t workspace_bytes(const ops::AttentionGradient& op);
std::size_t workspace_bytes(const ops::Retention& op);
std::size_t workspace_bytes(const ops::RetentionGradient& op);
std::size_t workspace_bytes(const ops::RetentionBlock& op);
std::size_t workspace_bytes(const ops::RetentionBlockGradient& op);

void run(const ops::Attention& op);
// Does not read op.o: Σ d_o·o is recomputed from the probabilities.
void run(const ops::AttentionGradient& op);
void run(const ops::Retention& op);
void run(const ops::RetentionGradient& op);
void run(const ops::RetentionBlock& op);
void run(const ops::RetentionBlockGradient& op);  // of fixed decays: without d_log_rate

}  // namespace vretnet::onednn
