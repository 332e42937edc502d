// One kernel for every sum over rows: y[z, c] (+)= scale · Σ_r term(z, r, c). Biases, gains, pools.
//   Memory: every term is read once, 32 neighbouring columns at a time. Many rows are cut into parts whose
//   sums go to partial[z][part][c] and are added in order, so results are equal bits every time; no atomics.
//   Launch: blocks of 32 columns × 8 rows, grid (columns / 32, parts, z), 1 KiB of shared memory; then a
//   thread a sum.
// A term is a struct with __device__ float operator()(unsigned z, unsigned row, unsigned column) const.
#pragma once

#include "core/backends/cuda/kernels/rows.cuh"
#include "core/backends/cuda/kernels/warp.cuh"
#include "core/backends/cuda/launch.h"
#include "core/ops/workspace.h"

namespace vretnet::cuda {

constexpr unsigned kSumRows = 8;  // of a block

struct ColumnSums {
  unsigned batches, rows, columns, parts;
  float* partial;  // [batches, parts, columns]; may be null where there is one part

  __device__ unsigned first_row(unsigned part) const {
    return static_cast<unsigned>(static_cast<std::uint64_t>(rows) * part / parts);
  }
};

// Where sums go: y[z · batch_stride + c · column_stride], in f32 or bf16.
struct SumTarget {
  void* data;
  bool narrow = false;  // bf16
  std::int64_t batch_stride = 0, column_stride = 1;
  float scale = 1;
  bool accumulate = false;

  __device__ void put(unsigned z, unsigned column, float sum) const {
    const std::int64_t at = z * batch_stride + column * column_stride;
    narrow ? put_at(static_cast<BFloat16*>(data) + at, sum) : put_at(static_cast<float*>(data) + at, sum);
  }
  template <class S>
  __device__ void put_at(S* y, float sum) const {
    store(y, accumulate ? load(y) + scale * sum : scale * sum);
  }
};

template <class Term>
__global__ void __launch_bounds__(kWarpSize* kSumRows)
    column_parts(const __grid_constant__ ColumnSums sums, const __grid_constant__ SumTarget target,
                 const __grid_constant__ Term term) {
  float* shared = shared_memory();  // [kSumRows][32]
  const unsigned column = blockIdx.x * kWarpSize + threadIdx.x, part = blockIdx.y, z = blockIdx.z;
  float sum = 0;
  if (column < sums.columns) {
    for (unsigned row = sums.first_row(part) + threadIdx.y; row < sums.first_row(part + 1); row += kSumRows) {
      sum += term(z, row, column);
    }
  }
  shared[threadIdx.y * kWarpSize + threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= sums.columns) return;
  for (unsigned row = 1; row < kSumRows; ++row) sum += shared[row * kWarpSize + threadIdx.x];
  if (sums.parts == 1) return target.put(z, column, sum);
  sums.partial[(static_cast<std::int64_t>(z) * sums.parts + part) * sums.columns + column] = sum;
}

// Takes the partial sums from `workspace`; cut so that a few hundred blocks have work.
ColumnSums plan_column_sums(std::int64_t batches, std::int64_t rows, std::int64_t columns,
                            ops::Workspace& workspace);
void run_add_parts(const ColumnSums& sums, const SumTarget& target, cudaStream_t stream);

template <class Term>
void run_column_sums(const ColumnSums& sums, const Term& term, const SumTarget& target, cudaStream_t stream) {
  launch(column_parts<Term>,
         {.grid = {(sums.columns + kWarpSize - 1) / kWarpSize, sums.parts, sums.batches},
          .block = {kWarpSize, kSumRows},
          .stream = stream,
          .shared_bytes = kWarpSize * kSumRows * sizeof(float)},
         sums, target, term);
  if (sums.parts > 1) run_add_parts(sums, target, stream);
}

template <class S>
struct PlainTerm {
  Rows<1> rows;
  __device__ float operator()(unsigned, unsigned row, unsigned column) const {
    return load(rows.at<S>(0, row) + column);
  }
};

}  // namespace vretnet::cuda
