// Sums and maxima over the lanes of a warp and over the columns of its row, where every lane gets the result,
// and over the warps of a block.
#pragma once

#include <gpu.h>

namespace vretnet::cuda {

constexpr int kWarpSize = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

__device__ inline unsigned lane() {
  return threadIdx.x % kWarpSize;
}

__device__ inline float warp_sum(float value) {
  for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAllLanes, value, lanes);
  return value;
}
__device__ inline float warp_max(float value) {
  for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, lanes));
  }
  return value;
}

// What the columns of a row add up to, Σ term(c); every lane gets it.
template <class Term>
__device__ inline float row_sum(unsigned width, const Term& term) {
  float sum = 0;
  for (unsigned c = lane(); c < width; c += kWarpSize) sum += term(c);
  return warp_sum(sum);
}

// The sum over the block, in the first warp only: the other threads are done when this returns false.
// `shared` has a number a warp, at most 32.
__device__ inline bool block_sum(float& value, float* shared) {
  value = warp_sum(value);
  if (lane() == 0) shared[threadIdx.x / kWarpSize] = value;
  __syncthreads();
  if (threadIdx.x >= kWarpSize) return false;
  value = warp_sum(threadIdx.x < blockDim.x / kWarpSize ? shared[threadIdx.x] : 0);
  return true;
}

}  // namespace vretnet::cuda
