// The cuDNN functions that the backend calls, behind NVIDIA's own header: convolutions of channels-last f32
// images. Of the algorithms that it offers only one is both deterministic and small, and it wants its
// workspace.
#include <cudnn.h>
#include <fmt/format.h>

#include <algorithm>

#include "tests/emulation/emulator.h"
#include "tests/emulation/fake/runtime.h"

namespace {

using vretnet::emulation::note_violation;
using vretnet::emulation::Runtime;
using vretnet::emulation::tell_written;

constexpr std::size_t kWorkspace = 512;

struct Handle {
  cudaStream_t stream = nullptr;
};
struct Images {
  int n = 0, c = 0, h = 0, w = 0;
  std::size_t bytes() const { return sizeof(float) * n * c * h * w; }
  std::size_t at(int b, int i, int j, int channel) const {
    return ((static_cast<std::size_t>(b) * h + i) * w + j) * c + channel;
  }
};
struct Window {
  int top = 0, left = 0, stride_v = 1, stride_h = 1;
  bool full_precision = false;
};

template <class Fake, class Opaque>
Fake& of(Opaque* handle) {
  return *reinterpret_cast<Fake*>(handle);
}
template <class Fake, class Opaque>
const Fake& of(const Opaque* handle) {
  return *reinterpret_cast<const Fake*>(handle);
}
template <class Fake, class Opaque>
cudnnStatus_t make(Opaque** handle) {
  *handle = reinterpret_cast<Opaque*>(new Fake());
  return CUDNN_STATUS_SUCCESS;
}
template <class Fake, class Opaque>
cudnnStatus_t destroy(Opaque* handle) {
  delete &of<Fake>(handle);
  return CUDNN_STATUS_SUCCESS;
}

bool fits(const Images& x, const Images& weight, const Window& window, const Images& y) {
  return x.n == y.n && weight.n == y.c && weight.c == x.c &&
         y.h == (x.h + 2 * window.top - weight.h) / window.stride_v + 1 &&
         y.w == (x.w + 2 * window.left - weight.w) / window.stride_h + 1;
}

template <class Performance, class Algorithm>
cudnnStatus_t offer(Algorithm fast, Algorithm exact, int most, int* count, Performance* offered) {
  *count = std::min(most, 2);
  for (int i = 0; i < *count; ++i) {
    offered[i] = {};
    offered[i].status = CUDNN_STATUS_SUCCESS;
    offered[i].algo = i == 0 ? fast : exact;
    offered[i].determinism = i == 0 ? CUDNN_NON_DETERMINISTIC : CUDNN_DETERMINISTIC;
    offered[i].memory = kWorkspace;
  }
  return CUDNN_STATUS_SUCCESS;
}

// visit(x element, weight element, y element) for every product that does not fall on the padding.
template <class Visit>
void for_each_product(const Images& x, const Images& weight, const Window& window, const Images& y,
                      const Visit& visit) {
  for (int b = 0; b < y.n; ++b) {
    for (int i = 0; i < y.h; ++i) {
      for (int j = 0; j < y.w; ++j) {
        for (int u = 0; u < weight.h; ++u) {
          for (int v = 0; v < weight.w; ++v) {
            const int row = i * window.stride_v + u - window.top,
                      column = j * window.stride_h + v - window.left;
            if (row < 0 || row >= x.h || column < 0 || column >= x.w) continue;
            for (int o = 0; o < y.c; ++o) {
              for (int c = 0; c < x.c; ++c) {
                visit(x.at(b, row, column, c), weight.at(o, u, v, c), y.at(b, i, j, o));
              }
            }
          }
        }
      }
    }
  }
}

struct Call {
  cudnnHandle_t handle;
  const Images &x, &weight, &y;
  const Window& window;
  const void *x_data, *weight_data, *y_data, *alpha, *beta, *workspace;
  std::size_t workspace_bytes;
};

// Checks the call, and queues work(): the target is 0 before every product.
template <class Visit>
cudnnStatus_t queue(const Call& call, float* target, const Images& target_shape, const Visit& visit) {
  const auto guard = std::unique_lock(Runtime::get().mutex);
  if (*static_cast<const float*>(call.alpha) != 1 || *static_cast<const float*>(call.beta) != 0) {
    return CUDNN_STATUS_NOT_SUPPORTED;
  }
  if (!fits(call.x, call.weight, call.window, call.y) || call.workspace_bytes < kWorkspace) {
    return CUDNN_STATUS_BAD_PARAM;
  }
  if (!call.window.full_precision) note_violation("a convolution that may round to TF32");
  const auto strays = [&](const void* data, std::size_t bytes) {
    const cudaStream_t stream = of<Handle>(call.handle).stream;
    return Runtime::get().strays("a convolution", stream ? stream->device : -1, data, bytes);
  };
  if (strays(call.x_data, call.x.bytes()) || strays(call.weight_data, call.weight.bytes()) ||
      strays(call.y_data, call.y.bytes()) || strays(call.workspace, call.workspace_bytes)) {
    return CUDNN_STATUS_EXECUTION_FAILED;
  }
  const Images x = call.x, weight = call.weight, y = call.y;
  const Window window = call.window;
  const cudaError_t error = Runtime::get().enqueue(of<Handle>(call.handle).stream, [=] {
    std::fill_n(target, target_shape.bytes() / sizeof(float), 0.0f);
    for_each_product(x, weight, window, y, visit);
    tell_written(target, target_shape.bytes());
  });
  return error == cudaSuccess ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}

}  // namespace

extern "C" {

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  return make<Handle>(handle);
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  return destroy<Handle>(handle);
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  of<Handle>(handle).stream = stream;
  return CUDNN_STATUS_SUCCESS;
}
const char* cudnnGetErrorString(cudnnStatus_t) {
  return "an error of the fake";
}
cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* descriptor) {
  return make<Images>(descriptor);
}
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t descriptor) {
  return destroy<Images>(descriptor);
}
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t descriptor, cudnnTensorFormat_t format,
                                         cudnnDataType_t type, int n, int c, int h, int w) {
  if (format != CUDNN_TENSOR_NHWC || type != CUDNN_DATA_FLOAT) return CUDNN_STATUS_NOT_SUPPORTED;
  of<Images>(descriptor) = {n, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* descriptor) {
  return make<Images>(descriptor);
}
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t descriptor) {
  return destroy<Images>(descriptor);
}
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t descriptor, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  if (format != CUDNN_TENSOR_NHWC || type != CUDNN_DATA_FLOAT) return CUDNN_STATUS_NOT_SUPPORTED;
  of<Images>(descriptor) = {k, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* descriptor) {
  return make<Window>(descriptor);
}
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t descriptor) {
  return destroy<Window>(descriptor);
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t descriptor, int top, int left,
                                              int stride_v, int stride_h, int dilation_h, int dilation_w,
                                              cudnnConvolutionMode_t mode, cudnnDataType_t type) {
  if (dilation_h != 1 || dilation_w != 1 || mode != CUDNN_CROSS_CORRELATION || type != CUDNN_DATA_FLOAT) {
    return CUDNN_STATUS_NOT_SUPPORTED;
  }
  of<Window>(descriptor) = {top, left, stride_v, stride_h};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t descriptor, cudnnMathType_t type) {
  of<Window>(descriptor).full_precision = type == CUDNN_FMA_MATH;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, const cudnnTensorDescriptor_t,
                                                     const cudnnFilterDescriptor_t,
                                                     const cudnnConvolutionDescriptor_t,
                                                     const cudnnTensorDescriptor_t, const int most,
                                                     int* count, cudnnConvolutionFwdAlgoPerf_t* offered) {
  return offer(CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, most,
               count, offered);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t, const cudnnFilterDescriptor_t,
                                                          const cudnnTensorDescriptor_t,
                                                          const cudnnConvolutionDescriptor_t,
                                                          const cudnnTensorDescriptor_t, const int most,
                                                          int* count,
                                                          cudnnConvolutionBwdDataAlgoPerf_t* offered) {
  return offer(CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, most, count, offered);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t, const cudnnTensorDescriptor_t,
                                                            const cudnnTensorDescriptor_t,
                                                            const cudnnConvolutionDescriptor_t,
                                                            const cudnnFilterDescriptor_t, const int most,
                                                            int* count,
                                                            cudnnConvolutionBwdFilterAlgoPerf_t* offered) {
  return offer(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, most, count,
               offered);
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha,
                                      const cudnnTensorDescriptor_t x_shape, const void* x,
                                      const cudnnFilterDescriptor_t w_shape, const void* w,
                                      const cudnnConvolutionDescriptor_t window,
                                      cudnnConvolutionFwdAlgo_t algorithm, void* workspace,
                                      std::size_t workspace_bytes, const void* beta,
                                      const cudnnTensorDescriptor_t y_shape, void* y) {
  if (algorithm != CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM) return CUDNN_STATUS_NOT_SUPPORTED;
  const auto *xs = static_cast<const float*>(x), *ws = static_cast<const float*>(w);
  auto* ys = static_cast<float*>(y);
  return queue({handle, of<Images>(x_shape), of<Images>(w_shape), of<Images>(y_shape), of<Window>(window), x,
                w, y, alpha, beta, workspace, workspace_bytes},
               ys, of<Images>(y_shape), [=](auto i, auto k, auto o) { ys[o] += xs[i] * ws[k]; });
}
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void* alpha,
                                           const cudnnFilterDescriptor_t w_shape, const void* w,
                                           const cudnnTensorDescriptor_t y_shape, const void* dy,
                                           const cudnnConvolutionDescriptor_t window,
                                           cudnnConvolutionBwdDataAlgo_t algorithm, void* workspace,
                                           std::size_t workspace_bytes, const void* beta,
                                           const cudnnTensorDescriptor_t x_shape, void* dx) {
  if (algorithm != CUDNN_CONVOLUTION_BWD_DATA_ALGO_1) return CUDNN_STATUS_NOT_SUPPORTED;
  const auto *ys = static_cast<const float*>(dy), *ws = static_cast<const float*>(w);
  auto* xs = static_cast<float*>(dx);
  return queue({handle, of<Images>(x_shape), of<Images>(w_shape), of<Images>(y_shape), of<Window>(window), dx,
                w, dy, alpha, beta, workspace, workspace_bytes},
               xs, of<Images>(x_shape), [=](auto i, auto k, auto o) { xs[i] += ys[o] * ws[k]; });
}
cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void* alpha,
                                             const cudnnTensorDescriptor_t x_shape, const void* x,
                                             const cudnnTensorDescriptor_t y_shape, const void* dy,
                                             const cudnnConvolutionDescriptor_t window,
                                             cudnnConvolutionBwdFilterAlgo_t algorithm, void* workspace,
                                             std::size_t workspace_bytes, const void* beta,
                                             const cudnnFilterDescriptor_t w_shape, void* dw) {
  if (algorithm != CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1) return CUDNN_STATUS_NOT_SUPPORTED;
  const auto *xs = static_cast<const float*>(x), *ys = static_cast<const float*>(dy);
  auto* ws = static_cast<float*>(dw);
  return queue({handle, of<Images>(x_shape), of<Images>(w_shape), of<Images>(y_shape), of<Window>(window), x,
                dw, dy, alpha, beta, workspace, workspace_bytes},
               ws, of<Images>(w_shape), [=](auto i, auto k, auto o) { ws[k] += xs[i] * ys[o]; });
}

}  // extern "C"
