// ColumnSum, PoolTokens and SquaredNorm. Memory and launch of the first two: column_sums.cuh.
#include <algorithm>

#include "core/backends/cuda/kernels.h"
#include "core/backends/cuda/kernels/column_sums.cuh"

namespace vretnet::cuda {
namespace {

// A thread a sum.
__global__ void __launch_bounds__(256)
    add_parts(const __grid_constant__ ColumnSums sums, const __grid_constant__ SumTarget target) {
  const unsigned index = blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= sums.batches * sums.columns) return;
  const unsigned z = index / sums.columns, column = index % sums.columns;
  const float* partial = sums.partial + static_cast<std::int64_t>(z) * sums.parts * sums.columns + column;
  float sum = 0;
  for (unsigned part = 0; part < sums.parts; ++part)
    sum += partial[static_cast<std::int64_t>(part) * sums.columns];
  target.put(z, column, sum);
}

}  // namespace

ColumnSums plan_column_sums(std::int64_t batches, std::int64_t rows, std::int64_t columns,
                            ops::Workspace& workspace) {
  constexpr std::int64_t kBlocks = 528, kRowsOfPart = 64;  // four blocks a multiprocessor of an H100
  expect(batches <= 65535, "more than 65535 sums of columns at once");
  const std::int64_t blocks = std::max<std::int64_t>(batches * ((columns + kWarpSize - 1) / kWarpSize), 1);
  const std::int64_t parts =
      std::clamp<std::int64_t>(std::min(kBlocks / blocks, rows / kRowsOfPart), 1, kBlocks);
  float* partial = nullptr;
  if (parts > 1) {
    const View view = workspace.take(DType::f32, {batches, parts, columns});
    if (view.buffer()->data) partial = view.data<float>();
  }
  return {static_cast<unsigned>(batches), static_cast<unsigned>(rows), static_cast<unsigned>(columns),
          static_cast<unsigned>(parts), partial};
}

void run_add_parts(const ColumnSums& sums, const SumTarget& target, cudaStream_t stream) {
  constexpr unsigned kThreads = 256;
  launch(add_parts,
         {.grid = {(sums.batches * sums.columns + kThreads - 1) / kThreads},
          .block = {kThreads},
          .stream = stream},
         sums, target);
}

namespace {

// Rows: x of all batches, `tokens` rows each.
template <class S>
struct PoolTerm {
  Rows<1> rows;
  unsigned tokens;
  __device__ float operator()(unsigned z, unsigned row, unsigned column) const {
    return load(rows.at<S>(0, z * tokens + row) + column);
  }
};

// One block a part of the elements: partial[part] = Σ x² (squared) or Σ x. Warps add by shuffles, then the
// first warp adds the warps' sums.
constexpr unsigned kNormThreads = 256;
__global__ void __launch_bounds__(kNormThreads)
    sum_elements(const float* x, std::int64_t count, bool squared, float* partial) {
  float* shared = shared_memory();  // one a warp
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kNormThreads;
  float sum = 0;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kNormThreads + threadIdx.x; i < count;
       i += stride) {
    sum += squared ? x[i] * x[i] : x[i];
  }
  if (block_sum(sum, shared) && threadIdx.x == 0) partial[blockIdx.x] = sum;
}

std::int64_t norm_parts(std::int64_t elements) {
  constexpr std::int64_t kMostBlocks = 1056, kElementsOfBlock = 4 * kNormThreads;
  return std::clamp<std::int64_t>((elements + kElementsOfBlock - 1) / kElementsOfBlock, 1, kMostBlocks);
}

}  // namespace

std::size_t workspace_bytes(const ops::ColumnSum& op) {
  ops::Workspace workspace;
  plan_column_sums(1, op.x.extent(0), op.x.extent(1), workspace);
  return workspace.bytes();
}

void run(const ops::ColumnSum& op, cudaStream_t stream) {
  if (op.x.elements() == 0) return;
  ops::Workspace workspace(op.workspace);
  const ColumnSums sums = plan_column_sums(1, op.x.extent(0), op.x.extent(1), workspace);
  with_storage(op.x.dtype(), [&]<class S>(S) {
    run_column_sums(sums, PlainTerm<S>{innermost_rows<1>({op.x})},
                    {.data = op.y.data<float>(), .accumulate = true}, stream);
  });
}

void run(const ops::PoolTokens& op, cudaStream_t stream) {
  if (op.y.elements() == 0) return;
  const std::int64_t batch = op.x.extent(0), tokens = op.x.extent(1), width = op.x.extent(2);
  if (op.kind == ops::PoolKind::last) {
    run(ops::Convert{.x = op.x.select(1, tokens - 1), .y = op.y}, stream);
    return;
  }
  const auto of = [](std::int64_t extent) { return static_cast<unsigned>(extent); };
  with_storage(op.x.dtype(), [&]<class S>(S) {
    run_column_sums({of(batch), of(tokens), of(width), 1, nullptr},
                    PoolTerm<S>{innermost_rows<1>({op.x}), of(tokens)},
                    {.data = op.y.data<void>(),
                     .narrow = op.y.dtype() == DType::bf16,
                     .batch_stride = op.y.stride(0),
                     .scale = op.scale,
                     .accumulate = op.write == ops::Write::accumulate},
                    stream);
  });
}

std::size_t workspace_bytes(const ops::SquaredNorm& op) {
  ops::Workspace workspace;
  workspace.take(DType::f32, {norm_parts(op.x.elements())});
  return workspace.bytes();
}

void run(const ops::SquaredNorm& op, cudaStream_t stream) {
  ops::Workspace workspace(op.workspace);
  const std::int64_t parts = norm_parts(op.x.elements());
  float* partial = workspace.take(DType::f32, {parts}).data<float>();
  const Launch shape{.grid = {static_cast<unsigned>(parts)},
                     .block = {kNormThreads},
                     .stream = stream,
                     .shared_bytes = kNormThreads / kWarpSize * sizeof(float)};
  Launch last = shape;
  last.grid = {1};
  launch(sum_elements, shape, op.x.elements() > 0 ? op.x.data<float>() : nullptr, op.x.elements(), true,
         partial);
  launch(sum_elements, last, partial, parts, false, op.y.data<float>());
}

}  // namespace vretnet::cuda
