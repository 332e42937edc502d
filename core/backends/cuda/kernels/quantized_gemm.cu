// QuantizedGemm, plainly: a thread an element of y.
//   Memory: each row of a is read and rounded again for every column, each column of b read for every row,
//   mostly from L1. Launch: blocks of 128 threads, neighbours in a row of y; no shared memory, no barrier. No
//   tensor cores: Gemm is faster, and `--precision auto` takes that.
#include "core/backends/cuda/kernels.h"
#include "core/backends/cuda/kernels/activation.cuh"
#include "core/backends/cuda/launch.h"

namespace vretnet::cuda {
namespace {

constexpr unsigned kThreads = 128;

struct QuantizedProduct {
  const float *a, *a_scale, *b_scale, *bias, *residual;  // bias and residual may be null
  const std::int8_t* b;
  float* y;
  std::int64_t a_row, b_row, b_column, residual_row, y_row;  // strides
  unsigned rows, columns, depth;
  ops::ActivationKind kind;
};

__global__ void __launch_bounds__(kThreads) multiply_integers(const __grid_constant__ QuantizedProduct op) {
  const std::int64_t element = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t row = element / op.columns, column = element % op.columns;
  if (row >= op.rows) return;
  const float *a = op.a + row * op.a_row, inverse = 1 / *op.a_scale;
  const std::int8_t* b = op.b + column * op.b_column;
  int sum = 0;
  for (unsigned k = 0; k < op.depth; ++k) {
    const float q = rintf(fmaxf(fminf(a[k] * inverse, 127.0f), -127.0f));
    sum += static_cast<int>(q) * b[static_cast<std::int64_t>(k) * op.b_row];
  }
  float z = static_cast<float>(sum) * (*op.a_scale * op.b_scale[column]);
  if (op.bias) z += op.bias[column];
  z = activation(op.kind, z);
  if (op.residual) z += op.residual[row * op.residual_row + column];
  op.y[row * op.y_row + column] = z;
}

const float* address(const View& view) {
  return view ? view.data<float>() : nullptr;
}

}  // namespace

void run(const ops::QuantizedGemm& op, cudaStream_t stream) {
  if (op.y.elements() == 0) return;
  const QuantizedProduct product{.a = address(op.a),
                                 .a_scale = address(op.a_scale),
                                 .b_scale = address(op.b_scale),
                                 .bias = address(op.bias),
                                 .residual = address(op.residual),
                                 .b = op.b.data<std::int8_t>(),
                                 .y = op.y.data<float>(),
                                 .a_row = op.a.stride(0),
                                 .b_row = op.b.stride(0),
                                 .b_column = op.b.stride(1),
                                 .residual_row = op.residual ? op.residual.stride(0) : 0,
                                 .y_row = op.y.stride(0),
                                 .rows = static_cast<unsigned>(op.y.extent(0)),
                                 .columns = static_cast<unsigned>(op.y.extent(1)),
                                 .depth = static_cast<unsigned>(op.a.extent(1)),
                                 .kind = op.activation};
  const std::int64_t blocks = (op.y.elements() + kThreads - 1) / kThreads;
  launch(multiply_integers, {.grid = {static_cast<unsigned>(blocks)}, .block = {kThreads}, .stream = stream},
         product);
}

}  // namespace vretnet::cuda
