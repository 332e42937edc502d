#include "core/backends/cuda/convolution.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/backends/cuda/kernels.h"
#include "core/base/error.h"
#include "core/ops/workspace.h"

namespace vretnet::cuda {
namespace {

constexpr std::size_t kMostLibraryBytes = std::size_t{256} << 20;

void require(cudnnStatus_t status, const char* doing) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw RunError(fmt::format("cuDNN: {}: {}", doing, cudnnGetErrorString(status)));
}

template <class Handle, cudnnStatus_t (*kCreate)(Handle*), cudnnStatus_t (*kDestroy)(Handle)>
struct Owned {
  Handle handle = nullptr;
  Owned() { require(kCreate(&handle), "describing a convolution"); }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() { kDestroy(handle); }
};

// x ∗ weight = y in cuDNN's words, whichever of the three is asked for.
struct Descriptors {
  Owned<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor> x, y;
  Owned<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor> weight;
  Owned<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor>
      window;
};

// What cuDNN is given: contiguous images (channels last) with the padding that it knows, equal at both ends.
// Images with another padding get their zeros in a copy.
struct Geometry {
  std::array<int, 4> x;       // batch, height, width, channels, zeros of a copy included
  std::array<int, 4> weight;  // outputs, kernel height, kernel width, channels
  std::array<int, 4> y;
  int stride, top, left;  // cuDNN's padding
  // The pixels of the op within a padded copy.
  bool padded_copy;
  std::int64_t first_row, first_column, rows, columns;
};

Geometry geometry_of(const View& x, const View& weight, const View& y, std::int64_t stride,
                     const ops::Padding& padding) {
  const auto of = [](std::int64_t extent) { return static_cast<int>(extent); };
  Geometry g{};
  g.x = {of(x.extent(0)), of(x.extent(1)), of(x.extent(2)), of(x.extent(3))};
  g.weight = {of(weight.extent(0)), of(weight.extent(2)), of(weight.extent(3)), of(weight.extent(1))};
  g.y = {of(y.extent(0)), of(y.extent(1)), of(y.extent(2)), of(y.extent(3))};
  g.stride = of(stride);
  const auto positions = [&](int axis, std::int64_t before) {
    return (g.x[axis] + 2 * before - g.weight[axis]) / stride + 1;
  };
  g.padded_copy = positions(1, padding.top) != g.y[1] || positions(2, padding.left) != g.y[2];
  if (!g.padded_copy) {
    g.top = of(padding.top);
    g.left = of(padding.left);
    return g;
  }
  g.x[1] = (g.y[1] - 1) * g.stride + g.weight[1];
  g.x[2] = (g.y[2] - 1) * g.stride + g.weight[2];
  g.first_row = padding.top;
  g.first_column = padding.left;
  g.rows = std::min<std::int64_t>(x.extent(1), g.x[1] - padding.top);
  g.columns = std::min<std::int64_t>(x.extent(2), g.x[2] - padding.left);
  return g;
}
Geometry geometry_of(const ops::Convolution& op) {
  return geometry_of(op.x, op.weight, op.y, op.stride, op.padding);
}
Geometry geometry_of(const ops::ConvolutionInputGradient& op) {
  return geometry_of(op.d_x, op.weight, op.d_y, op.stride, op.padding);
}
Geometry geometry_of(const ops::ConvolutionWeightGradient& op) {
  return geometry_of(op.x, op.d_weight, op.d_y, op.stride, op.padding);
}

void describe(const Descriptors& described, const Geometry& g) {
  const auto images = [](cudnnTensorDescriptor_t descriptor, const std::array<int, 4>& shape) {
    require(cudnnSetTensor4dDescriptor(descriptor, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, shape[0], shape[3],
                                       shape[1], shape[2]),
            "describing images");
  };
  images(described.x.handle, g.x);
  images(described.y.handle, g.y);
  require(cudnnSetFilter4dDescriptor(described.weight.handle, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC,
                                     g.weight[0], g.weight[3], g.weight[1], g.weight[2]),
          "describing a kernel");
  require(cudnnSetConvolution2dDescriptor(described.window.handle, g.top, g.left, g.stride, g.stride, 1, 1,
                                          CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
          "describing a convolution");
  require(cudnnSetConvolutionMathType(described.window.handle, CUDNN_FMA_MATH), "describing a convolution");
}

// The fastest algorithm by cuDNN's own judgement that is deterministic and fits.
template <class Performance, class Ask>
Performance choose(const Ask& ask) {
  std::array<Performance, 10> offered{};
  int count = 0;
  require(ask(static_cast<int>(offered.size()), &count, offered.data()), "choosing an algorithm");
  for (int i = 0; i < count; ++i) {
    const Performance& each = offered[static_cast<std::size_t>(i)];
    if (each.status == CUDNN_STATUS_SUCCESS && each.determinism == CUDNN_DETERMINISTIC &&
        each.memory <= kMostLibraryBytes) {
      return each;
    }
  }
  throw RunError("cuDNN: no deterministic algorithm for a convolution");
}
cudnnConvolutionFwdAlgoPerf_t choose_forward(cudnnHandle_t handle, const Descriptors& d) {
  return choose<cudnnConvolutionFwdAlgoPerf_t>([&](int most, int* count, auto* offered) {
    return cudnnGetConvolutionForwardAlgorithm_v7(handle, d.x.handle, d.weight.handle, d.window.handle,
                                                  d.y.handle, most, count, offered);
  });
}
cudnnConvolutionBwdDataAlgoPerf_t choose_input_gradient(cudnnHandle_t handle, const Descriptors& d) {
  return choose<cudnnConvolutionBwdDataAlgoPerf_t>([&](int most, int* count, auto* offered) {
    return cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, d.weight.handle, d.y.handle, d.window.handle,
                                                       d.x.handle, most, count, offered);
  });
}
cudnnConvolutionBwdFilterAlgoPerf_t choose_weight_gradient(cudnnHandle_t handle, const Descriptors& d) {
  return choose<cudnnConvolutionBwdFilterAlgoPerf_t>([&](int most, int* count, auto* offered) {
    return cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, d.x.handle, d.y.handle, d.window.handle,
                                                         d.weight.handle, most, count, offered);
  });
}

// What cuDNN can be given as it lies.
bool is_readable(const View& view) {
  return view.contiguous() && view.dtype() == DType::f32;
}

// The tensors of one call, in f32.
struct Room {
  View x, weight, y, library;
  View x_pixels;  // the op's pixels within x
};
Room room_of(const View& op_x, const View& op_y, const Geometry& g, std::size_t library_bytes,
             ops::Workspace& workspace) {
  Room room;
  const auto take = [&](const std::array<int, 4>& shape) {
    return workspace.take(DType::f32, {shape[0], shape[1], shape[2], shape[3]});
  };
  room.x = is_readable(op_x) && !g.padded_copy ? op_x : take(g.x);
  room.y = is_readable(op_y) ? op_y : take(g.y);
  room.weight = take(g.weight);
  room.library = workspace.take_bytes(library_bytes);
  room.x_pixels =
      g.padded_copy ? room.x.slice(1, g.first_row, g.rows).slice(2, g.first_column, g.columns) : room.x;
  return room;
}
View pixels_of(const View& op_x, const Geometry& g) {
  return g.padded_copy ? op_x.slice(1, 0, g.rows).slice(2, 0, g.columns) : op_x;
}
bool is_copy(const Room& room, const View& op_x) {
  return room.x.buffer() != op_x.buffer() || room.x.offset() != op_x.offset();
}

void copy_in(const View& op_x, const Room& room, const Geometry& g, const Stream& stream) {
  if (!is_copy(room, op_x)) return;
  if (g.padded_copy) run_fill(room.x, 0, stream.get());
  cuda::run(ops::Convert{.x = pixels_of(op_x, g), .y = room.x_pixels}, stream.get());
}
void copy_in(const View& from, const View& room, const Stream& stream) {
  if (!is_readable(from)) cuda::run(ops::Convert{.x = from, .y = room}, stream.get());
}
// [outputs, channels, kernel height, kernel width] read as [outputs, kernel height, kernel width, channels].
View channels_last(const View& weight) {
  return weight.transposed(1, 2).transposed(2, 3);
}
View channels_first(const View& weight) {
  return weight.transposed(2, 3).transposed(1, 2);
}

void* address(const View& view) {
  return view ? view.data<float>() : nullptr;
}
constexpr float kOne = 1, kZero = 0;

View bias_room(const ops::ConvolutionWeightGradient& op, const Room& room, ops::Workspace& workspace,
               ops::ColumnSum& sum) {
  sum.x = room.y.reshaped({op.d_y.extent(0) * op.d_y.extent(1) * op.d_y.extent(2), op.d_y.extent(3)});
  sum.y = op.d_bias;
  return workspace.take_bytes(workspace_bytes(sum));
}

}  // namespace

ConvolutionEngine::ConvolutionEngine(const Stream& stream) {
  require(cudnnCreate(&handle_), "starting the library");
  require(cudnnSetStream(handle_, stream.get()), "choosing a stream");
}
ConvolutionEngine::~ConvolutionEngine() {
  cudnnDestroy(handle_);
}

std::size_t ConvolutionEngine::workspace_bytes(const ops::Convolution& op) const {
  if (op.y.elements() == 0) return 0;
  const Geometry g = geometry_of(op);
  const Descriptors described;
  describe(described, g);
  ops::Workspace workspace;
  room_of(op.x, op.y, g, choose_forward(handle_, described).memory, workspace);
  return workspace.bytes();
}

void ConvolutionEngine::run(const ops::Convolution& op, const Stream& stream) {
  if (op.y.elements() == 0) return;
  const Geometry g = geometry_of(op);
  const Descriptors described;
  describe(described, g);
  const auto chosen = choose_forward(handle_, described);
  ops::Workspace workspace(op.workspace);
  const Room room = room_of(op.x, op.y, g, chosen.memory, workspace);
  copy_in(op.x, room, g, stream);
  cuda::run(ops::Convert{.x = channels_last(op.weight), .y = room.weight}, stream.get());
  require(cudnnConvolutionForward(handle_, &kOne, described.x.handle, address(room.x),
                                  described.weight.handle, address(room.weight), described.window.handle,
                                  chosen.algo, address(room.library), chosen.memory, &kZero,
                                  described.y.handle, address(room.y)),
          "a convolution");
  if (op.bias && op.bias.dtype() == DType::f32) {
    const View bias = op.bias.broadcast(0, g.y[2]).broadcast(0, g.y[1]).broadcast(0, g.y[0]);
    cuda::run(ops::Add{.a = room.y, .b = bias, .y = op.y}, stream.get());
    return;
  }
  if (op.bias) run_wide_bias(op.bias, room.y, stream.get());
  if (!is_readable(op.y)) cuda::run(ops::Convert{.x = room.y, .y = op.y}, stream.get());
}

std::size_t ConvolutionEngine::workspace_bytes(const ops::ConvolutionInputGradient& op) const {
  if (op.d_x.elements() == 0) return 0;
  const Geometry g = geometry_of(op);
  const Descriptors described;
  describe(described, g);
  ops::Workspace workspace;
  room_of(op.d_x, op.d_y, g, choose_input_gradient(handle_, described).memory, workspace);
  return workspace.bytes();
}

void ConvolutionEngine::run(const ops::ConvolutionInputGradient& op, const Stream& stream) {
  if (op.d_x.elements() == 0) return;
  const Geometry g = geometry_of(op);
  const Descriptors described;
  describe(described, g);
  const auto chosen = choose_input_gradient(handle_, described);
  ops::Workspace workspace(op.workspace);
  const Room room = room_of(op.d_x, op.d_y, g, chosen.memory, workspace);
  copy_in(op.d_y, room.y, stream);
  cuda::run(ops::Convert{.x = channels_last(op.weight), .y = room.weight}, stream.get());
  require(cudnnConvolutionBackwardData(handle_, &kOne, described.weight.handle, address(room.weight),
                                       described.y.handle, address(room.y), described.window.handle,
                                       chosen.algo, address(room.library), chosen.memory, &kZero,
                                       described.x.handle, address(room.x)),
          "a convolution's input gradient");
  if (!is_copy(room, op.d_x)) return;
  if (g.padded_copy) {  // rows and columns that no kernel reads
    run_fill(op.d_x.slice(1, g.rows, op.d_x.extent(1) - g.rows), 0, stream.get());
    run_fill(op.d_x.slice(2, g.columns, op.d_x.extent(2) - g.columns), 0, stream.get());
  }
  cuda::run(ops::Convert{.x = room.x_pixels, .y = pixels_of(op.d_x, g)}, stream.get());
}

std::size_t ConvolutionEngine::workspace_bytes(const ops::ConvolutionWeightGradient& op) const {
  if (op.d_y.elements() == 0) return 0;
  const Geometry g = geometry_of(op);
  const Descriptors described;
  describe(described, g);
  ops::Workspace workspace;
  const Room room = room_of(op.x, op.d_y, g, choose_weight_gradient(handle_, described).memory, workspace);
  ops::ColumnSum sum;
  if (op.d_bias) bias_room(op, room, workspace, sum);
  return workspace.bytes();
}

void ConvolutionEngine::run(const ops::ConvolutionWeightGradient& op, const Stream& stream) {
  if (op.d_y.elements() == 0) return;
  const Geometry g = geometry_of(op);
  const Descriptors described;
  describe(described, g);
  const auto chosen = choose_weight_gradient(handle_, described);
  ops::Workspace workspace(op.workspace);
  const Room room = room_of(op.x, op.d_y, g, chosen.memory, workspace);
  copy_in(op.x, room, g, stream);
  copy_in(op.d_y, room.y, stream);
  require(cudnnConvolutionBackwardFilter(handle_, &kOne, described.x.handle, address(room.x),
                                         described.y.handle, address(room.y), described.window.handle,
                                         chosen.algo, address(room.library), chosen.memory, &kZero,
                                         described.weight.handle, address(room.weight)),
          "a convolution's weight gradient");
  cuda::run(ops::Convert{.x = channels_first(room.weight), .y = op.d_weight, .write = ops::Write::accumulate},
            stream.get());
  if (!op.d_bias) return;
  ops::ColumnSum sum;
  sum.workspace = bias_room(op, room, workspace, sum);
  cuda::run(sum, stream.get());
}

}  // namespace vretnet::cuda
