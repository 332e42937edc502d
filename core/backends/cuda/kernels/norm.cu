// LayerNorm, HeadNorm (and the gate behind it), their gradients, and the loss: everything that looks at whole
// rows.
//   Memory: a row is read two or three times, the first time from DRAM and then from L1; outputs are written
//   once and may be inputs, since a lane reads its elements before it writes them. A warp's 32 lanes touch 32
//   neighbours. Launch: one warp a row, blocks of 4 warps, grid of rows / 4; no shared memory, no block
//   barrier.
#include "core/backends/cuda/kernels.h"
#include "core/backends/cuda/kernels/column_sums.cuh"
#include "core/backends/cuda/kernels/row_norm.cuh"
#include "core/backends/cuda/kernels/rows.cuh"
#include "core/backends/cuda/kernels/warp.cuh"
#include "core/backends/cuda/launch.h"
#include "core/ops/workspace.h"

namespace vretnet::cuda {
namespace {

constexpr unsigned kRowThreads = 128, kRowsOfBlock = kRowThreads / kWarpSize;

Launch row_launch(unsigned rows, cudaStream_t stream) {
  return {.grid = {(rows + kRowsOfBlock - 1) / kRowsOfBlock}, .block = {kRowThreads}, .stream = stream};
}
__device__ inline unsigned row_of_warp() {
  return blockIdx.x * kRowsOfBlock + threadIdx.x / kWarpSize;
}

template <class S = float>
S* address(const View& view) {
  return view && view.elements() > 0 ? view.data<S>() : nullptr;
}

// Rows: y, x, g (optional: y is multiplied by swish(g)).
template <class S>
__global__ void __launch_bounds__(kRowThreads)
    normalize(const __grid_constant__ Rows<3> rows, const __grid_constant__ Norm<S> norm) {
  const unsigned row = row_of_warp();
  if (row >= rows.rows) return;
  const S* x = rows.at<S>(1, row);
  const Statistics statistics = normalize_row(rows.at<S>(0, row), rows.at<S>(2, row), rows.width, norm,
                                              [&](unsigned c) { return load(x + c); });
  if (lane() == 0 && norm.mean) norm.mean[row] = statistics.center;
  if (lane() == 0 && norm.inverse_deviation) norm.inverse_deviation[row] = statistics.inverse_deviation;
}

// Rows: d_x, x, d_y, residual (optional). Statistics are `norm`'s, or computed again where it has none.
template <class S>
__global__ void __launch_bounds__(kRowThreads)
    normalize_gradient(const __grid_constant__ Rows<4> rows, const __grid_constant__ Norm<S> norm) {
  const unsigned row = row_of_warp();
  if (row >= rows.rows) return;
  S* d_x = rows.at<S>(0, row);
  const S *x = rows.at<S>(1, row), *d_y = rows.at<S>(2, row), *residual = rows.at<S>(3, row);
  const unsigned width = rows.width;
  const Statistics statistics =
      norm.mean ? Statistics{norm.mean[row], norm.inverse_deviation[row]}
                : statistics_of(width, norm.centered, norm.epsilon, [&](unsigned c) { return load(x + c); });
  const auto gradient = [&](unsigned c) {
    return norm.gain ? load(d_y + c) * load(norm.gain + c) : load(d_y + c);
  };
  const auto normalized = [&](unsigned c) {
    return (load(x + c) - statistics.center) * statistics.inverse_deviation;
  };
  const float mean = norm.centered ? row_sum(width, gradient) / width : 0;
  const float slope = row_sum(width, [&](unsigned c) { return gradient(c) * normalized(c); }) / width;
  for (unsigned c = lane(); c < width; c += kWarpSize) {
    const float value = (gradient(c) - mean - normalized(c) * slope) * statistics.inverse_deviation;
    store(d_x + c, residual ? value + load(residual + c) : value);
  }
}

// Rows: logits, targets, d_logits (optional).
struct Loss {
  const float* class_weight;  // null: 1
  float* loss;
  float smoothing, gradient_scale;
};
__global__ void __launch_bounds__(kRowThreads)
    cross_entropy(const __grid_constant__ Rows<3> rows, const __grid_constant__ Loss loss) {
  const unsigned row = row_of_warp();
  if (row >= rows.rows) return;
  const float *logits = rows.at<float>(0, row), *targets = rows.at<float>(1, row);
  float* d_logits = rows.at<float>(2, row);
  const unsigned classes = rows.width;
  float largest = logits[0];
  for (unsigned c = lane(); c < classes; c += kWarpSize) largest = fmaxf(largest, logits[c]);
  largest = warp_max(largest);
  const float sum = row_sum(classes, [&](unsigned c) { return expf(logits[c] - largest); });
  const float smooth = loss.smoothing * row_sum(classes, [&](unsigned c) { return targets[c]; }) / classes;
  const auto weighted_target = [&](unsigned c) {
    const float target = (1 - loss.smoothing) * targets[c] + smooth;
    return loss.class_weight ? loss.class_weight[c] * target : target;
  };
  const float log_sum = logf(sum);
  const float total =
      row_sum(classes, [&](unsigned c) { return weighted_target(c) * (log_sum - (logits[c] - largest)); });
  if (lane() == 0) loss.loss[row] = total;
  if (d_logits == nullptr) return;  // the same for the whole grid
  const float weight = row_sum(classes, weighted_target);
  const float zero = total - total;  // or NaN, where the loss is not finite
  for (unsigned c = lane(); c < classes; c += kWarpSize) {
    d_logits[c] =
        zero + loss.gradient_scale * (expf(logits[c] - largest) / sum * weight - weighted_target(c));
  }
}

// Rows: y, x.
template <class S>
__global__ void __launch_bounds__(kRowThreads) softmax(const __grid_constant__ Rows<2> rows) {
  const unsigned row = row_of_warp();
  if (row >= rows.rows) return;
  S* y = rows.at<S>(0, row);
  const S* x = rows.at<S>(1, row);
  float largest = -INFINITY;  // not x[0], which its own lane may have overwritten: y may be x
  for (unsigned c = lane(); c < rows.width; c += kWarpSize) largest = fmaxf(largest, load(x + c));
  largest = warp_max(largest);
  const float sum = row_sum(rows.width, [&](unsigned c) { return expf(load(x + c) - largest); });
  for (unsigned c = lane(); c < rows.width; c += kWarpSize) store(y + c, expf(load(x + c) - largest) / sum);
}

// Rows: d_x, y, d_y.
template <class S>
__global__ void __launch_bounds__(kRowThreads) softmax_gradient(const __grid_constant__ Rows<3> rows) {
  const unsigned row = row_of_warp();
  if (row >= rows.rows) return;
  S* d_x = rows.at<S>(0, row);
  const S *y = rows.at<S>(1, row), *d_y = rows.at<S>(2, row);
  const float mean = row_sum(rows.width, [&](unsigned c) { return load(d_y + c) * load(y + c); });
  for (unsigned c = lane(); c < rows.width; c += kWarpSize)
    store(d_x + c, load(y + c) * (load(d_y + c) - mean));
}

// Terms of d_gain: d_y · x̂.
template <class S>
struct GainTerm {
  Rows<2> rows;  // d_y, x
  const float *mean, *inverse_deviation;
  __device__ float operator()(unsigned, unsigned row, unsigned column) const {
    return load(rows.at<S>(0, row) + column) *
           ((load(rows.at<S>(1, row) + column) - mean[row]) * inverse_deviation[row]);
  }
};

}  // namespace

void run(const ops::LayerNorm& op, cudaStream_t stream) {
  if (op.x.elements() == 0) return;
  const auto rows = innermost_rows<3>({op.y, op.x, View()});
  with_storage(op.x.dtype(), [&]<class S>(S) {
    const Norm<S> norm{.gain = address<S>(op.gain),
                       .bias = address<S>(op.bias),
                       .mean = address(op.mean),
                       .inverse_deviation = address(op.inverse_deviation),
                       .epsilon = op.epsilon,
                       .centered = true};
    launch(normalize<S>, row_launch(rows.rows, stream), rows, norm);
  });
}

void run(const ops::LayerNormGradient& op, cudaStream_t stream) {
  if (op.x.elements() == 0) return;
  // Parameters first: d_x may take the place of d_y.
  ops::Workspace workspace(op.workspace);
  const auto rows = innermost_rows<2>({op.d_y, op.x});
  const ColumnSums sums = plan_column_sums(1, rows.rows, rows.width, workspace);
  with_storage(op.x.dtype(), [&]<class S>(S) {
    run_column_sums(sums, GainTerm<S>{rows, address(op.mean), address(op.inverse_deviation)},
                    {.data = address(op.d_gain), .accumulate = true}, stream);
    run_column_sums(sums, PlainTerm<S>{innermost_rows<1>({op.d_y})},
                    {.data = address(op.d_bias), .accumulate = true}, stream);
    const Norm<S> norm{.gain = address<S>(op.gain),
                       .mean = address(op.mean),
                       .inverse_deviation = address(op.inverse_deviation),
                       .centered = true};
    launch(normalize_gradient<S>, row_launch(rows.rows, stream),
           innermost_rows<4>({op.d_x, op.x, op.d_y, op.residual}), norm);
  });
}

std::size_t workspace_bytes(const ops::LayerNormGradient& op) {
  ops::Workspace workspace;
  plan_column_sums(1, op.x.extent(0), op.x.extent(1), workspace);
  return workspace.bytes();
}

void run_gated_norm(const View& x, const View& g, const View& y, ops::HeadNormKind kind, float epsilon,
                    ops::Write write, cudaStream_t stream) {
  if (x.elements() == 0) return;
  const auto rows = innermost_rows<3>({y, x, g});
  with_storage(x.dtype(), [&]<class S>(S) {
    const Norm<S> norm{.epsilon = epsilon,
                       .centered = kind == ops::HeadNormKind::layer,
                       .accumulate = write == ops::Write::accumulate};
    launch(normalize<S>, row_launch(rows.rows, stream), rows, norm);
  });
}

void run(const ops::HeadNorm& op, cudaStream_t stream) {
  run_gated_norm(op.x, {}, op.y, op.kind, op.epsilon, ops::Write::overwrite, stream);
}

void run(const ops::HeadNormGradient& op, cudaStream_t stream) {
  if (op.x.elements() == 0) return;
  const auto rows = innermost_rows<4>({op.d_x, op.x, op.d_y, View()});
  with_storage(op.x.dtype(), [&]<class S>(S) {
    const Norm<S> norm{.epsilon = op.epsilon, .centered = op.kind == ops::HeadNormKind::layer};
    launch(normalize_gradient<S>, row_launch(rows.rows, stream), rows, norm);
  });
}

void run(const ops::Softmax& op, cudaStream_t stream) {
  if (op.x.elements() == 0) return;
  const auto rows = innermost_rows<2>({op.y, op.x});
  with_storage(op.x.dtype(), [&]<class S>(S) { launch(softmax<S>, row_launch(rows.rows, stream), rows); });
}

void run(const ops::SoftmaxGradient& op, cudaStream_t stream) {
  if (op.y.elements() == 0) return;
  const auto rows = innermost_rows<3>({op.d_x, op.y, op.d_y});
  with_storage(op.y.dtype(),
               [&]<class S>(S) { launch(softmax_gradient<S>, row_launch(rows.rows, stream), rows); });
}

void run(const ops::CrossEntropy& op, cudaStream_t stream) {
  if (op.logits.elements() == 0) return;
  const auto rows = innermost_rows<3>({op.logits, op.targets, op.d_logits});
  const Loss loss{address(op.class_weight), address(op.loss), op.smoothing, op.gradient_scale};
  launch(cross_entropy, row_launch(rows.rows, stream), rows, loss);
}

}  // namespace vretnet::cuda
