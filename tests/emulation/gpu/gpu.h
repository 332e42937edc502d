// The twin of core/backends/cuda/gpu/gpu.h: the same vocabulary for kernels that g++ compiles and the
// emulator runs.
#pragma once

#include <cuda_runtime_api.h>
#include <emmintrin.h>
#include <vector_functions.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <tuple>
#include <utility>

#include "core/tensor/bfloat16.h"
#include "tests/emulation/emulator.h"
#include "tests/emulation/fake/kernels.h"
#include "tests/emulation/fragments.h"

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

inline float load(const float* address) {
  return *address;
}
inline float load(const BFloat16* address) {
  return to_float(*address);
}
inline void store(float* address, float value) {
  *address = value;
}
inline void store(BFloat16* address, float value) {
  *address = to_bfloat16(value);
}

inline bool aligned(const void* address, std::uintptr_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(address) % bytes == 0) return true;
  emulation::note_violation("misaligned address: an access of " + std::to_string(bytes) +
                            " bytes to no multiple");
  return false;
}
// One access each, which the checker counts as one.
inline float4 load4(const float* address) {
  if (!aligned(address, 16)) return {};
  const __m128 four = _mm_load_ps(address);
  return make_float4(four[0], four[1], four[2], four[3]);
}
inline void store4(float* address, float4 value) {
  if (aligned(address, 16)) _mm_store_ps(address, _mm_setr_ps(value.x, value.y, value.z, value.w));
}
inline float4 load4(const BFloat16* address) {
  if (!aligned(address, 8)) return {};
  const auto bits = *reinterpret_cast<const std::uint64_t*>(address);
  const auto element = [bits](int i) { return to_float({static_cast<std::uint16_t>(bits >> 16 * i)}); };
  return make_float4(element(0), element(1), element(2), element(3));
}
inline void store4(BFloat16* address, float4 value) {
  if (!aligned(address, 8)) return;
  const auto bits = [](float number) { return std::uint64_t{to_bfloat16(number).bits}; };
  *reinterpret_cast<std::uint64_t*>(address) =
      bits(value.x) | bits(value.y) << 16 | bits(value.z) << 32 | bits(value.w) << 48;
}

// Fragments of 16 × 16 for tensor cores. Memory is touched as ldmatrix does it: 16 bytes a lane; sums by
// pairs.
enum class Major { rows, columns };
template <emulation::Part part, Major major>
struct Fragment {
  std::uint16_t x[emulation::kElementsOfLane];
};
template <Major major>
using LeftFragment = Fragment<emulation::Part::left, major>;
template <Major major>
using RightFragment = Fragment<emulation::Part::right, major>;
struct SumsFragment {
  float x[emulation::kElementsOfLane];
};

inline int lane_of_warp() {
  return static_cast<int>(threadIdx.x) % emulation::kWarp;
}
template <emulation::Part part, Major major>
void load_fragment(Fragment<part, major>& fragment, const BFloat16* first, int stride) {
  if (!aligned(first, 32)) return;
  const int lane = lane_of_warp();
  const BFloat16* half = first + lane % emulation::kFragmentSide * stride +
                         lane / emulation::kFragmentSide * emulation::kElementsOfLane;
  alignas(16) std::uint16_t mine[emulation::kElementsOfLane] = {};
  if (aligned(half, 16)) {
    _mm_store_si128(reinterpret_cast<__m128i*>(mine), _mm_load_si128(reinterpret_cast<const __m128i*>(half)));
  }
  emulation::distribute(part, major == Major::rows, mine, fragment.x);
}
inline void load_sums(SumsFragment& sums, const float* first, int stride) {
  float mine[emulation::kElementsOfLane];
  for (int j = 0; j < emulation::kElementsOfLane / 2; ++j) {
    const auto [row, column] = emulation::pair_of(lane_of_warp(), j);
    const auto bits = *reinterpret_cast<const std::uint64_t*>(first + row * stride + column);
    std::memcpy(mine + 2 * j, &bits, sizeof bits);
  }
  emulation::distribute(mine, sums.x);
}
inline void store_sums(float* first, const SumsFragment& sums, int stride) {
  float mine[emulation::kElementsOfLane];
  emulation::collect(sums.x, mine);
  for (int j = 0; j < emulation::kElementsOfLane / 2; ++j) {
    const auto [row, column] = emulation::pair_of(lane_of_warp(), j);
    std::uint64_t bits;
    std::memcpy(&bits, mine + 2 * j, sizeof bits);
    *reinterpret_cast<std::uint64_t*>(first + row * stride + column) = bits;
  }
}
template <Major left, Major right>
void multiply_add(SumsFragment& sums, const LeftFragment<left>& a, const RightFragment<right>& b) {
  emulation::multiply_add(sums.x, a.x, b.x);
}
inline void fill_sums(SumsFragment& sums, float value) {
  for (float& x : sums.x) x = value;
}
inline void scale_sums(SumsFragment& sums, float factor) {
  for (float& x : sums.x) x *= factor;
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
