// QuantizedGemm by oneDNN's matmul of bytes, by panels: each thread quantizes some rows of a, multiplies them
// by some columns of b, and makes y of the sums while these lie in its cache.
//
// The product is u8 · s8 → s32: a holds q + 128, and 128 · Σ_k b[k,n] is taken off the sums again. That is
// exact, and a fifth faster than oneDNN's s8 · s8 → f32 with scales (500 against 415 GOP/s for 85 x 1152 x
// 192, 1 thread, AVX512-VNNI). Without VNNI oneDNN's products of bytes saturate in 16 bits: then the integers
// are multiplied as f32, exactly so for K ≤ 1040 and like any f32 sum beyond.
#pragma once

#include <cstddef>

#include "core/backends/onednn/primitives.h"
#include "core/ops/ops.h"

namespace vretnet::onednn {

// Whether this processor multiplies bytes faster than floats, and exactly (AVX512-VNNI).
bool multiplies_bytes();

std::size_t workspace_bytes(const ops::QuantizedGemm& op, Primitives& primitives);
void run(const ops::QuantizedGemm& op, Primitives& primitives);

}  // namespace vretnet::onednn
