#include "core/backends/cuda/launch.h"
#include "tests/emulation/checker/defects.cuh"

namespace vretnet::emulation {
namespace {

constexpr unsigned kThreads = 64, kBlocks = 4, kCount = kThreads * kBlocks;

// Shared memory: [64] of the block, [64] of lanes; two floats more that nobody needs.
__global__ void exercise(Defect defect, const float* x, float* y) {
  float* shared = cuda::shared_memory();
  float* of_lanes = shared + kThreads;
  const unsigned thread = threadIdx.x, index = blockIdx.x * kThreads + thread;
  const unsigned neighbour = (thread + 1) % kThreads, lane = thread % 32, warp = thread - lane;

  float sum = 0;
  if (defect != Defect::uninitialised_shared || thread > 0) shared[thread] = x[index];
  if (defect != Defect::missing_block_barrier) __syncthreads();
  sum += shared[neighbour];
  if (defect != Defect::missing_second_barrier) __syncthreads();
  shared[thread] = 2 * x[index];
  __syncthreads();
  sum += shared[neighbour];

  of_lanes[thread] = sum;
  if (defect == Defect::shuffle_as_barrier) {
    sum += 0 * __shfl_sync(0xffffffffu, sum, 0);
  } else if (defect != Defect::missing_warp_barrier) {
    __syncwarp();
  }
  sum += of_lanes[warp + (lane + 1) % 32];
  if (defect == Defect::two_writers && thread < 2) shared[5] = sum;
  if (defect == Defect::beyond_shared_memory && thread == 0) shared[2 * kThreads] = sum;

  y[index] = sum;
  if (defect == Defect::two_blocks && thread == 0) y[0] = sum;
  if (defect == Defect::one_row_past_the_end && thread == 0) sum += x[index + kCount];
  if (defect == Defect::misaligned_vector && index == 0) sum += cuda::load4(x + 1).x;
  if (defect == Defect::uninitialised_global && index == 0) sum += y[kCount];
  y[index] = sum;
}

// A fragment of ones, which both warps write, times itself, by the first: sums of 16.
__global__ void multiply_fragments(Defect defect, float* y) {
  BFloat16* ones = reinterpret_cast<BFloat16*>(cuda::shared_memory());  // [16][16], then f32 [16][16]
  float* sums_in_memory = cuda::shared_memory() + 128;
  for (unsigned i = threadIdx.x; i < 256; i += kThreads) cuda::store(ones + i, 1);
  if (defect == Defect::two_writers_of_a_half && threadIdx.x < 2) cuda::store(ones + 5, 1);
  if (defect != Defect::fragments_without_barrier) __syncthreads();
  if (threadIdx.x >= 32) return;
  cuda::LeftFragment<cuda::Major::rows> left;
  cuda::RightFragment<cuda::Major::columns> right;
  cuda::SumsFragment sums;
  cuda::fill_sums(sums, 0);
  cuda::load_fragment(left, ones + (defect == Defect::misaligned_fragment ? 8 : 0), 16);
  cuda::load_fragment(right, ones + (defect == Defect::fragment_beyond_shared_memory ? 768 : 0), 16);
  cuda::multiply_add(sums, left, right);
  cuda::store_sums(sums_in_memory, sums, 16);
  __syncwarp();
  for (unsigned i = threadIdx.x; i < 256; i += 32) y[i] = sums_in_memory[i];
}

__global__ void strided(int global_stride, int shared_stride, const float* x, float* y) {
  float* shared = cuda::shared_memory();
  shared[threadIdx.x * shared_stride] = x[threadIdx.x * global_stride];
  y[threadIdx.x] = shared[threadIdx.x * shared_stride];
}

}  // namespace

void run_with(Defect defect, const float* x, float* y, const cuda::Stream& stream) {
  if (defect >= Defect::neighbouring_halves && defect <= Defect::misaligned_fragment) {
    return cuda::launch(multiply_fragments,
                        {.grid = {1}, .block = {kThreads}, .stream = stream.get(), .shared_bytes = 1536},
                        defect, y);
  }
  cuda::launch(exercise,
               {.grid = {kBlocks},
                .block = {kThreads},
                .stream = stream.get(),
                .shared_bytes = 2 * kThreads * sizeof(float)},
               defect, x, y);
}

void run_strided(int global_stride, int shared_stride, const float* x, float* y, const cuda::Stream& stream) {
  cuda::launch(strided,
               {.grid = {1}, .block = {32}, .stream = stream.get(), .shared_bytes = 32 * 32 * sizeof(float)},
               global_stride, shared_stride, x, y);
}

}  // namespace vretnet::emulation
