// The gradients of a depthwise convolution's weight and bias, stride 1.
//   Memory: x and d_y come from device memory once. A warp has 32 neighbouring channels and walks along a row
//   of d_y; its threads hold the pixels of x under the kernel, of which each step reads one column, and a sum
//   for every kernel element. The warps of a block walk along neighbouring rows, and all blocks side by side,
//   so that the rows of x that several of them need are still in L1 or L2. A block's sums go to
//   partial[element][part][channel] and are added in order (column_sums.cuh): equal bits every time. Launch:
//   blocks of 32 channels × 8 rows, grid (channels / 32, parts, groups of elements); 32 channels × 8 rows × a
//   float for every sum of shared memory. A group is 3 × 3 elements, so that wider kernels read their tensors
//   once a group.
#include <algorithm>

#include "core/backends/cuda/kernels.h"
#include "core/backends/cuda/kernels/column_sums.cuh"
#include "core/backends/cuda/kernels/images.cuh"

namespace vretnet::cuda {
namespace {

constexpr unsigned kWarps = 8;         // of a block, a row each
constexpr unsigned kBlocksAtOnce = 5;  // of a multiprocessor

template <class S>
struct ElementSums {
  Images<S> x, d_y;
  float* partial;  // [elements (+ 1: the bias)][parts][channels]
  unsigned rows, channels;
  int kernel_height, kernel_width, top, left;
  bool with_bias;
};

// kSide: 3, or 1 for kernels of one element.
template <class S, int kSide>
__global__ void __launch_bounds__(kWarpSize* kWarps, kBlocksAtOnce)
    depthwise_elements(const __grid_constant__ ElementSums<S> sums) {
  constexpr int kElements = kSide * kSide;
  float* shared = shared_memory();  // [kElements + 1][kWarps][32]
  const unsigned channel = blockIdx.x * kWarpSize + threadIdx.x, part = blockIdx.y, parts = gridDim.y;
  const int groups_wide = (sums.kernel_width + kSide - 1) / kSide;
  const int first_u = static_cast<int>(blockIdx.z) / groups_wide * kSide;
  const int first_v = static_cast<int>(blockIdx.z) % groups_wide * kSide;
  float element[kElements] = {}, bias = 0;
  if (channel < sums.channels) {
    for (unsigned row = part * kWarps + threadIdx.y; row < sums.rows; row += parts * kWarps) {
      const unsigned b = row / sums.d_y.height;
      const int i = static_cast<int>(row % sums.d_y.height), above = i + first_u - sums.top;
      const int row_stride = static_cast<int>(sums.x.row_stride);  // 64 bits cost registers
      int column = first_v - sums.left;                            // of x, the next to be read
      const S* x = sums.x.at(b, above, column, channel);
      const S* d_y = sums.d_y.at(b, i, 0, channel);
      float under[kSide][kSide];  // the pixels of x under the kernel's elements
      const auto read_column = [&](int v) {
        for (int u = 0; u < kSide; ++u)
          under[u][v] = sums.x.has(above + u, column) ? load(x + u * row_stride) : 0;
        x += sums.x.column_stride;
        ++column;
      };
      for (int v = 0; v < kSide - 1; ++v) read_column(v);
      for (int j = 0; j < sums.d_y.width; ++j, d_y += sums.d_y.column_stride) {
        read_column(kSide - 1);
        const float gradient = load(d_y);
        bias += gradient;
        for (int u = 0; u < kSide; ++u) {
          for (int v = 0; v < kSide; ++v) element[u * kSide + v] += gradient * under[u][v];
          for (int v = 0; v < kSide - 1; ++v) under[u][v] = under[u][v + 1];
        }
      }
    }
  }
  for (int n = 0; n <= kElements; ++n)
    shared[(n * kWarps + threadIdx.y) * kWarpSize + threadIdx.x] = n < kElements ? element[n] : bias;
  __syncthreads();
  if (channel >= sums.channels) return;
  const int elements = sums.kernel_height * sums.kernel_width;
  for (int n = static_cast<int>(threadIdx.y); n <= kElements; n += kWarps) {
    const int u = first_u + n / kSide, v = first_v + n % kSide;
    const bool is_bias = n == kElements;
    if (is_bias ? !sums.with_bias || blockIdx.z > 0 : u >= sums.kernel_height || v >= sums.kernel_width)
      continue;
    float sum = 0;
    for (unsigned warp = 0; warp < kWarps; ++warp)
      sum += shared[(n * kWarps + warp) * kWarpSize + threadIdx.x];
    const std::int64_t index = is_bias ? elements : u * sums.kernel_width + v;
    sums.partial[(index * parts + part) * sums.channels + channel] = sum;
  }
}

struct Plan {
  unsigned elements, rows, channels, groups, parts;
  int side;
  float* partial;
  ColumnSums of_elements() const { return {elements, rows, channels, parts, partial}; }
  ColumnSums of_bias() const {
    return {1, rows, channels, parts, partial + std::int64_t{elements} * parts * channels};
  }
};

// As many parts as blocks that an H100 has at once, but two rows a warp; all walk along equally many.
Plan plan_of(const ops::DepthwiseWeightGradient& op, ops::Workspace& workspace) {
  constexpr std::int64_t kBlocks = 132 * kBlocksAtOnce;
  const std::int64_t height = op.d_weight.extent(2), width = op.d_weight.extent(3);
  const std::int64_t rows = op.d_y.extent(0) * op.d_y.extent(1), channels = op.d_y.extent(3);
  const std::int64_t side = height * width == 1 ? 1 : 3;
  const auto pieces = [](std::int64_t whole, std::int64_t piece) { return (whole + piece - 1) / piece; };
  const std::int64_t groups = pieces(height, side) * pieces(width, side);
  const std::int64_t blocks = std::max<std::int64_t>(groups * pieces(channels, kWarpSize), 1);
  const std::int64_t turns = std::max<std::int64_t>(pieces(rows, kWarps), 1);
  const std::int64_t most =
      std::clamp<std::int64_t>(kBlocks / blocks, 1, std::max<std::int64_t>(turns / 2, 1));
  const std::int64_t parts = pieces(turns, pieces(turns, most));
  const View partial = workspace.take(DType::f32, {height * width + (op.d_bias ? 1 : 0), parts, channels});
  const auto of = [](std::int64_t extent) { return static_cast<unsigned>(extent); };
  return {of(height * width),
          of(rows),
          of(channels),
          of(groups),
          of(parts),
          static_cast<int>(side),
          partial.buffer()->data ? partial.data<float>() : nullptr};
}

}  // namespace

std::size_t workspace_bytes(const ops::DepthwiseWeightGradient& op) {
  ops::Workspace workspace;
  plan_of(op, workspace);
  return workspace.bytes();
}

void run(const ops::DepthwiseWeightGradient& op, cudaStream_t stream) {
  if (op.d_y.elements() == 0) return;
  expect(op.d_weight.contiguous(), "the gradient of a depthwise weight has gaps");
  ops::Workspace workspace(op.workspace);
  const Plan plan = plan_of(op, workspace);
  with_storage(op.x.dtype(), [&]<class S>(S) {
    const ElementSums<S> sums{.x = images_of<S>(op.x),
                              .d_y = images_of<S>(op.d_y),
                              .partial = plan.partial,
                              .rows = plan.rows,
                              .channels = plan.channels,
                              .kernel_height = static_cast<int>(op.d_weight.extent(2)),
                              .kernel_width = static_cast<int>(op.d_weight.extent(3)),
                              .top = static_cast<int>(op.padding.top),
                              .left = static_cast<int>(op.padding.left),
                              .with_bias = static_cast<bool>(op.d_bias)};
    launch(plan.side == 1 ? depthwise_elements<S, 1> : depthwise_elements<S, 3>,
           {.grid = {(plan.channels + kWarpSize - 1) / kWarpSize, plan.parts, plan.groups},
            .block = {kWarpSize, kWarps},
            .stream = stream,
            .shared_bytes =
                static_cast<std::size_t>(plan.side * plan.side + 1) * kWarps * kWarpSize * sizeof(float)},
           sums);
  });
  run_add_parts(plan.of_elements(),
                {.data = op.d_weight.data<float>(),
                 .batch_stride = 1,
                 .column_stride = plan.elements,
                 .accumulate = true},
                stream);
  if (op.d_bias) run_add_parts(plan.of_bias(), {.data = op.d_bias.data<float>(), .accumulate = true}, stream);
}

}  // namespace vretnet::cuda
