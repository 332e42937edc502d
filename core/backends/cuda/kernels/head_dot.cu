// HeadDot: one sum of products a head.
//   Memory: every element of a and b is read once, neighbouring lanes neighbouring values of a token. Many
//   tokens are cut into parts, whose sums are added in order (column_sums.cuh): equal bits every time; no
//   atomics. Launch: blocks of 256 threads, grid (parts, heads), 32 bytes of shared memory; then a thread a
//   sum.
#include <limits>

#include "core/backends/cuda/kernels.h"
#include "core/backends/cuda/kernels/column_sums.cuh"
#include "core/backends/cuda/kernels/tokens.cuh"

namespace vretnet::cuda {
namespace {

constexpr unsigned kDotThreads = 256;

template <class S>
struct HeadDots {
  Tokens<S> a, b;
  unsigned tokens, width;
};

// A row is a token of an image.
template <class S>
__global__ void __launch_bounds__(kDotThreads)
    dot_heads(const __grid_constant__ ColumnSums sums, const __grid_constant__ SumTarget target,
              const __grid_constant__ HeadDots<S> dots) {
  float* shared = shared_memory();  // one a warp
  const unsigned part = blockIdx.x, head = blockIdx.y, end = sums.first_row(part + 1) * dots.width;
  float sum = 0;
  for (unsigned i = sums.first_row(part) * dots.width + threadIdx.x; i < end; i += kDotThreads) {
    const unsigned row = i / dots.width, column = i % dots.width;
    const unsigned image = row / dots.tokens, token = row % dots.tokens;
    sum += load(dots.a.at(image, token, head) + column) * load(dots.b.at(image, token, head) + column);
  }
  if (!block_sum(sum, shared) || threadIdx.x > 0) return;
  if (sums.parts == 1) return target.put(head, 0, sum);
  sums.partial[head * sums.parts + part] = sum;
}

ColumnSums plan(const ops::HeadDot& op, ops::Workspace& workspace) {
  return plan_column_sums(op.a.extent(2), op.a.extent(0) * op.a.extent(1), 1, workspace);
}

}  // namespace

std::size_t workspace_bytes(const ops::HeadDot& op) {
  ops::Workspace workspace;
  plan(op, workspace);
  return workspace.bytes();
}

void run(const ops::HeadDot& op, cudaStream_t stream) {
  if (op.a.elements() == 0) return;
  expect(op.a.elements() < std::numeric_limits<unsigned>::max() - kDotThreads, "2³² elements");
  ops::Workspace workspace(op.workspace);
  const ColumnSums sums = plan(op, workspace);
  const SumTarget target{.data = op.y.data<float>(), .batch_stride = op.y.stride(0), .accumulate = true};
  with_storage(op.a.dtype(), [&]<class S>(S) {
    const HeadDots<S> dots{Tokens<S>(op.a), Tokens<S>(op.b), static_cast<unsigned>(op.a.extent(1)),
                           static_cast<unsigned>(op.a.extent(3))};
    launch(dot_heads<S>,
           {.grid = {sums.parts, sums.batches},
            .block = {kDotThreads},
            .stream = stream,
            .shared_bytes = kDotThreads / kWarpSize * sizeof(float)},
           sums, target, dots);
  });
  if (sums.parts > 1) run_add_parts(sums, target, stream);
}

}  // namespace vretnet::cuda
