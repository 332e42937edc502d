// Depthwise convolution, stride 1, and its gradients.
//   Memory: a thread makes an output element from k² inputs, of which its neighbours share all but a few
//   (L1); 32 lanes touch 32 neighbouring channels. The weights of a block's channels are read once, into
//   shared memory. Launch: blocks of 32 channels × 64 pixels, 8 pixels at a time, 256 threads; k² · 33 floats
//   of shared memory. Weight gradients are sums over rows, one a kernel element: column_sums.cuh.
#include "core/backends/cuda/kernels.h"
#include "core/backends/cuda/kernels/column_sums.cuh"
#include "core/backends/cuda/launch.h"

namespace vretnet::cuda {
namespace {

constexpr int kThreads = 256, kChannels = 32, kPixels = 64;  // of a block
constexpr int kStride = kChannels + 1;                       // of a tap's weights in shared memory

template <class S>
struct Images {  // [batch, height, width, channels]; null data: not given
  S* data;
  std::int64_t batch_stride, row_stride, column_stride;
  int height, width;

  __device__ S* at(unsigned b, int row, int column, unsigned channel) const {
    return data + b * batch_stride + row * row_stride + column * column_stride + channel;
  }
  __device__ bool has(int row, int column) const {
    return row >= 0 && row < height && column >= 0 && column < width;
  }
};

template <class S>
Images<S> images_of(const View& view) {
  if (!view) return {};
  return {view.data<S>(),
          view.stride(0),
          view.stride(1),
          view.stride(2),
          static_cast<int>(view.extent(1)),
          static_cast<int>(view.extent(2))};
}

// y[b,i,j,c] (+)= bias[c] + Σ x[b, i+u−top, j+v−left, c] · weight[c, w(u, v)] + residual[b,i,j,c], where
// `flipped` reads the kernel backwards: the gradient of the input is the convolution of d_y with the flipped
// kernel.
template <class S>
struct Window {
  Images<S> x, residual, y;
  const S *weight, *bias;
  unsigned batch, channels;
  int kernel_height, kernel_width, top, left;
  bool flipped, accumulate;
};

template <class S>
__global__ void __launch_bounds__(kThreads) depthwise(const __grid_constant__ Window<S> window) {
  float* weights = shared_memory();  // [taps][channels of the block], an odd stride: it is written by taps
  const int taps = window.kernel_height * window.kernel_width;
  const unsigned first_channel = blockIdx.y * kChannels, channel = first_channel + threadIdx.x;
  const int channels = min(kChannels, static_cast<int>(window.channels - first_channel));
  for (int i = static_cast<int>(threadIdx.y * kChannels + threadIdx.x); i < channels * taps; i += kThreads) {
    weights[i % taps * kStride + i / taps] =
        load(window.weight + static_cast<std::int64_t>(first_channel) * taps + i);
  }
  __syncthreads();
  if (channel >= window.channels) return;
  const float bias = window.bias ? load(window.bias + channel) : 0;
  for (unsigned n = threadIdx.y; n < kPixels; n += kThreads / kChannels) {
    const unsigned pixel = blockIdx.x * kPixels + n;
    const int j = static_cast<int>(pixel % window.y.width);
    const int i = static_cast<int>(pixel / window.y.width % window.y.height);
    const unsigned b = pixel / window.y.width / window.y.height;
    if (b >= window.batch) return;
    float sum = bias;
    for (int u = 0; u < window.kernel_height; ++u) {
      for (int v = 0; v < window.kernel_width; ++v) {
        const int row = i + u - window.top, column = j + v - window.left;
        if (!window.x.has(row, column)) continue;
        const int tap = u * window.kernel_width + v;
        sum += load(window.x.at(b, row, column, channel)) *
               weights[(window.flipped ? taps - 1 - tap : tap) * kStride + static_cast<int>(threadIdx.x)];
      }
    }
    if (window.residual.data) sum += load(window.residual.at(b, i, j, channel));
    S* y = window.y.at(b, i, j, channel);
    store(y, window.accumulate ? load(y) + sum : sum);
  }
}

template <class S>
void launch_window(const Window<S>& window, const View& y, cudaStream_t stream) {
  const std::int64_t pixels = y.elements() / y.extent(3), tiles = (pixels + kPixels - 1) / kPixels;
  launch(depthwise<S>,
         {.grid = {static_cast<unsigned>(tiles), (window.channels + kChannels - 1) / kChannels},
          .block = {kChannels, kThreads / kChannels},
          .stream = stream,
          .shared_bytes =
              static_cast<std::size_t>(window.kernel_height * window.kernel_width) * kStride * sizeof(float)},
         window);
}

// Terms of d_weight[c, tap z]: rows are the pixels of d_y.
template <class S>
struct TapTerm {
  Images<S> x, d_y;
  int kernel_width, top, left;
  __device__ float operator()(unsigned z, unsigned row, unsigned channel) const {
    const int j = static_cast<int>(row % d_y.width), i = static_cast<int>(row / d_y.width % d_y.height);
    const unsigned b = row / d_y.width / d_y.height;
    const int x_row = i + static_cast<int>(z) / kernel_width - top;
    const int x_column = j + static_cast<int>(z) % kernel_width - left;
    return x.has(x_row, x_column) ? load(d_y.at(b, i, j, channel)) * load(x.at(b, x_row, x_column, channel))
                                  : 0;
  }
};

ColumnSums plan_taps(const ops::DepthwiseWeightGradient& op, ops::Workspace& workspace) {
  return plan_column_sums(op.d_weight.extent(2) * op.d_weight.extent(3),
                          op.d_y.extent(0) * op.d_y.extent(1) * op.d_y.extent(2), op.d_y.extent(3),
                          workspace);
}

// A whole channel's taps lie side by side in memory; channels need not.
void check_weight(const View& weight) {
  expect(weight.contiguous(), "a depthwise weight has gaps");
}

}  // namespace

void run(const ops::Depthwise& op, cudaStream_t stream) {
  if (op.y.elements() == 0) return;
  check_weight(op.weight);
  with_storage(op.x.dtype(), [&]<class S>(S) {
    launch_window<S>({.x = images_of<S>(op.x),
                      .residual = images_of<S>(op.residual),
                      .y = images_of<S>(op.y),
                      .weight = op.weight.data<S>(),
                      .bias = op.bias ? op.bias.data<S>() : nullptr,
                      .batch = static_cast<unsigned>(op.y.extent(0)),
                      .channels = static_cast<unsigned>(op.y.extent(3)),
                      .kernel_height = static_cast<int>(op.weight.extent(2)),
                      .kernel_width = static_cast<int>(op.weight.extent(3)),
                      .top = static_cast<int>(op.padding.top),
                      .left = static_cast<int>(op.padding.left),
                      .flipped = false,
                      .accumulate = op.write == ops::Write::accumulate},
                     op.y, stream);
  });
}

void run(const ops::DepthwiseInputGradient& op, cudaStream_t stream) {
  if (op.d_x.elements() == 0) return;
  check_weight(op.weight);
  const auto height = static_cast<int>(op.weight.extent(2)), width = static_cast<int>(op.weight.extent(3));
  with_storage(op.d_y.dtype(), [&]<class S>(S) {
    launch_window<S>({.x = images_of<S>(op.d_y),
                      .residual = images_of<S>(op.residual),
                      .y = images_of<S>(op.d_x),
                      .weight = op.weight.data<S>(),
                      .bias = nullptr,
                      .batch = static_cast<unsigned>(op.d_x.extent(0)),
                      .channels = static_cast<unsigned>(op.d_x.extent(3)),
                      .kernel_height = height,
                      .kernel_width = width,
                      .top = height - 1 - static_cast<int>(op.padding.top),
                      .left = width - 1 - static_cast<int>(op.padding.left),
                      .flipped = true,
                      .accumulate = op.write == ops::Write::accumulate},
                     op.d_x, stream);
  });
}

std::size_t workspace_bytes(const ops::DepthwiseWeightGradient& op) {
  ops::Workspace taps, bias;
  plan_taps(op, taps);
  if (op.d_bias)
    plan_column_sums(1, op.d_y.extent(0) * op.d_y.extent(1) * op.d_y.extent(2), op.d_y.extent(3), bias);
  return std::max(taps.bytes(), bias.bytes());
}

void run(const ops::DepthwiseWeightGradient& op, cudaStream_t stream) {
  if (op.d_y.elements() == 0) return;
  check_weight(op.d_weight);
  ops::Workspace workspace(op.workspace);
  const ColumnSums sums = plan_taps(op, workspace);
  ops::Workspace again(op.workspace);  // the sums of the taps have been used by then: the stream is in order
  with_storage(op.x.dtype(), [&]<class S>(S) {
    run_column_sums(
        sums,
        TapTerm<S>{images_of<S>(op.x), images_of<S>(op.d_y), static_cast<int>(op.d_weight.extent(3)),
                   static_cast<int>(op.padding.top), static_cast<int>(op.padding.left)},
        {.data = op.d_weight.data<float>(),
         .batch_stride = 1,
         .column_stride = sums.batches,
         .accumulate = true},
        stream);
    if (!op.d_bias) return;
    run_column_sums(plan_column_sums(1, sums.rows, sums.columns, again),
                    PlainTerm<S>{innermost_rows<1>({op.d_y})},
                    {.data = op.d_bias.data<float>(), .accumulate = true}, stream);
  });
}

}  // namespace vretnet::cuda
