// Depthwise convolution, stride 1, and the gradient of its input.
//   Memory: a thread makes an output element from k² inputs, of which its neighbours share all but a few
//   (L1); 32 lanes touch 32 neighbouring channels. The weights of a block's channels are read once, into
//   shared memory. Launch: blocks of 32 channels × 64 pixels, 8 pixels at a time, 256 threads; k² · 33 floats
//   of shared memory.
#include "core/backends/cuda/kernels.h"
#include "core/backends/cuda/kernels/images.cuh"
#include "core/backends/cuda/launch.h"

namespace vretnet::cuda {
namespace {

constexpr int kThreads = 256, kChannels = 32, kPixels = 64;  // of a block
constexpr int kStride = kChannels + 1;                       // of a tap's weights in shared memory

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

}  // namespace vretnet::cuda
