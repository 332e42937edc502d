// The twin of core/backends/cuda/gpu/gpu.h: the same vocabulary for kernels that g++ compiles and the
// emulator runs.
#pragma once

#include <cuda_runtime_api.h>
#include <emmintrin.h>
#include <vector_functions.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <tuple>
#include <utility>

#include "tests/emulation/emulator.h"
#include "tests/emulation/fake/kernels.h"

// Of the running thread; the emulator sets them.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

#undef __launch_bounds__
#define __launch_bounds__(...)

inline int min(int a, int b) {
  return a < b ? a : b;
}
inline void __syncthreads() {
  vretnet::emulation::block_barrier();
}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  vretnet::emulation::warp_barrier(mask);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int from) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = vretnet::emulation::shuffle(mask, bits, from & (vretnet::emulation::kWarp - 1));
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes) {
  return __shfl_sync(mask, value, static_cast<int>(threadIdx.x % vretnet::emulation::kWarp) ^ lanes);
}

namespace vretnet::cuda {

inline float* shared_memory() {
  return emulation::shared_memory();
}

inline bool aligned(const float* address) {
  if (reinterpret_cast<std::uintptr_t>(address) % 16 == 0) return true;
  emulation::note_violation("misaligned address: a 16-byte access to no multiple of 16");
  return false;
}
// One access each, which the checker counts as one.
inline float4 load4(const float* address) {
  if (!aligned(address)) return {};
  const __m128 four = _mm_load_ps(address);
  return make_float4(four[0], four[1], four[2], four[3]);
}
inline void store4(float* address, float4 value) {
  if (aligned(address)) _mm_store_ps(address, _mm_setr_ps(value.x, value.y, value.z, value.w));
}

// Tells the fake runtime how to call the kernel and how large its arguments are.
template <class... Parameters>
void introduce(void (*kernel)(Parameters...)) {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...));
  emulation::introduce_kernel(
      reinterpret_cast<const void*>(kernel),
      {sizeof(Parameters)...}, [kernel](void** arguments) __attribute__((no_sanitize_thread)) {
        [&]<std::size_t... i>(std::index_sequence<i...>) __attribute__((no_sanitize_thread)) {
          kernel(*static_cast<Parameters*>(arguments[i])...);
        }
        (std::index_sequence_for<Parameters...>());
      });
}

}  // namespace vretnet::cuda
