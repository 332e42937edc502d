// What a kernel may use of CUDA: this file and nothing else. Kernels include it as <gpu.h>;
// tests/emulation/gpu has its twin of the same name, with which the same kernels run on the host.
#pragma once

#include <cuda_runtime.h>

namespace vretnet::cuda {

// The dynamic shared memory of the block, 16-byte aligned, content undefined.
__device__ inline float* shared_memory() {
  extern __shared__ float4 vretnet_shared_memory[];
  return reinterpret_cast<float*>(vretnet_shared_memory);
}

// Four floats in one access; the address is a multiple of 16 bytes.
__device__ inline float4 load4(const float* address) {
  return *reinterpret_cast<const float4*>(address);
}
__device__ inline void store4(float* address, float4 value) {
  *reinterpret_cast<float4*>(address) = value;
}

// The emulator learns here how to call a kernel; nvcc knows.
template <class... Parameters>
void introduce(void (*)(Parameters...)) {}

}  // namespace vretnet::cuda
