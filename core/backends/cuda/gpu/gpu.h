// What a kernel may use of CUDA: this file and nothing else. Kernels include it as <gpu.h>;
// tests/emulation/gpu has its twin of the same name, with which the same kernels run on the host.
#pragma once

#include <cuda_runtime.h>

#include <type_traits>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <mma.h>
#endif

#include "core/tensor/bfloat16.h"

namespace vretnet::cuda {

#ifdef __CUDACC__  // host files of the backend, which start kernels, are compiled by another compiler

// The dynamic shared memory of the block, 32-byte aligned, content undefined.
__device__ inline float* shared_memory() {
  extern __shared__ __align__(32) float4 vretnet_shared_memory[];
  return reinterpret_cast<float*>(vretnet_shared_memory);
}

// An element of storage as a number, and back, rounded to the nearest.
__device__ inline float load(const float* address) {
  return *address;
}
__device__ inline float load(const BFloat16* address) {
  return __uint_as_float(static_cast<unsigned>(address->bits) << 16);
}
__device__ inline void store(float* address, float value) {
  *address = value;
}
__device__ inline void store(BFloat16* address, float value) {
  address->bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
}

// Four elements in one access; the address is a multiple of their 16 (f32) or 8 (bf16) bytes.
__device__ inline float4 load4(const float* address) {
  return *reinterpret_cast<const float4*>(address);
}
__device__ inline float4 load4(const BFloat16* address) {
  const uint2 pairs = *reinterpret_cast<const uint2*>(address);
  return make_float4(__uint_as_float(pairs.x << 16), __uint_as_float(pairs.x & 0xffff0000u),
                     __uint_as_float(pairs.y << 16), __uint_as_float(pairs.y & 0xffff0000u));
}
__device__ inline void store4(float* address, float4 value) {
  *reinterpret_cast<float4*>(address) = value;
}
__device__ inline void store4(BFloat16* address, float4 value) {
  const auto bits = [](float number) {
    return static_cast<unsigned>(__bfloat16_as_ushort(__float2bfloat16_rn(number)));
  };
  *reinterpret_cast<uint2*>(address) =
      make_uint2(bits(value.x) | bits(value.y) << 16, bits(value.z) | bits(value.w) << 16);
}

// Fragments of 16 × 16 for tensor cores: bf16 factors, f32 sums. A whole warp calls each function; it orders
// no memory. Nobody knows which lane has which element. Addresses are multiples of 32 bytes, strides of 16.
enum class Major { rows, columns };  // how a factor lies in memory
template <Major major>
using OrderOf = std::conditional_t<major == Major::rows, nvcuda::wmma::row_major, nvcuda::wmma::col_major>;
template <Major major>
using LeftFragment =
    nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, 16, 16, 16, __nv_bfloat16, OrderOf<major>>;
template <Major major>
using RightFragment =
    nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, 16, 16, 16, __nv_bfloat16, OrderOf<major>>;
using SumsFragment = nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, float>;

template <class Factor>
__device__ inline void load_fragment(Factor& fragment, const BFloat16* first, int stride) {
  nvcuda::wmma::load_matrix_sync(fragment, reinterpret_cast<const __nv_bfloat16*>(first), stride);
}
__device__ inline void load_sums(SumsFragment& sums, const float* first, int stride) {
  nvcuda::wmma::load_matrix_sync(sums, first, stride, nvcuda::wmma::mem_row_major);
}
__device__ inline void store_sums(float* first, const SumsFragment& sums, int stride) {
  nvcuda::wmma::store_matrix_sync(first, sums, stride, nvcuda::wmma::mem_row_major);
}
// sums += a · b.
template <class Left, class Right>
__device__ inline void multiply_add(SumsFragment& sums, const Left& a, const Right& b) {
  nvcuda::wmma::mma_sync(sums, a, b, sums);
}
__device__ inline void fill_sums(SumsFragment& sums, float value) {
  nvcuda::wmma::fill_fragment(sums, value);
}
__device__ inline void scale_sums(SumsFragment& sums, float factor) {
  for (int i = 0; i < sums.num_elements; ++i) sums.x[i] *= factor;
}

#endif  // __CUDACC__

// The emulator learns here how to call a kernel; nvcc knows.
template <class... Parameters>
void introduce(void (*)(Parameters...)) {}

}  // namespace vretnet::cuda
