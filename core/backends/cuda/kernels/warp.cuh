// Sums and maxima over the lanes of a warp and the warps of a block. Every lane gets the result.
#pragma once

#include <gpu.h>

namespace vretnet::cuda {

constexpr int kWarpSize = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

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

}  // namespace vretnet::cuda
