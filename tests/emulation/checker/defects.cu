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

__global__ void strided(int global_stride, int shared_stride, const float* x, float* y) {
  float* shared = cuda::shared_memory();
  shared[threadIdx.x * shared_stride] = x[threadIdx.x * global_stride];
  y[threadIdx.x] = shared[threadIdx.x * shared_stride];
}

}  // namespace

void run_with(Defect defect, const float* x, float* y, const cuda::Stream& stream) {
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
