// Softmax attention of the ViT twins and its gradient, 32 × 32 scores at a time: N² is never held.
//   Memory: a block reads its 32 queries once and all keys and values of the head; o is written once. The
//   gradient is three such walks (d_q by queries, d_k and d_v by keys) that make the scores again from
//   log_sum_exp. Launch: blocks of 128, grid (tiles of 32 tokens · values / 64, heads, batch). Shared memory:
//   four or five tiles of ≤ 32 × d and the scores, 30 KiB forward and 46 KiB backward at d = 64.
#include <algorithm>

#include "core/backends/cuda/kernels.h"
#include "core/backends/cuda/kernels/rows.cuh"
#include "core/backends/cuda/kernels/tiles.cuh"
#include "core/backends/cuda/kernels/tokens.cuh"
#include "core/backends/cuda/kernels/warp.cuh"
#include "core/backends/cuda/launch.h"
#include "core/ops/workspace.h"

namespace vretnet::cuda {
namespace {

// Four neighbouring lanes share a row of scores, eight columns each.
constexpr int kLanesOfRow = kTileThreads / kTileTokens, kColumnsOfLane = kTileTokens / kLanesOfRow;

template <class S>
struct Attend {
  Tokens<S> q, k, v, o;
  float* log_sum_exp;  // [batch, heads, tokens], strides below; null: not kept
  std::int64_t statistics_batch, statistics_head;
  float scale;
  int tokens, width, tile;
};

// The tiles of a grid's x axis: which tokens, which columns of the values.
struct Part {
  int first_token, rows, first_column, columns;
  __device__ Part(int tokens, int width, int tile) {
    const int tiles = (tokens + tile - 1) / tile, x = static_cast<int>(blockIdx.x);
    first_token = x % tiles * tile;
    rows = min(tile, tokens - first_token);
    first_column = x / tiles * kTileColumns;
    columns = min(kTileColumns, width - first_column);
  }
};

template <class S>
__global__ void __launch_bounds__(kTileThreads, kTileBlocks) attend(const __grid_constant__ Attend<S> task) {
  const unsigned head = blockIdx.y, batch = blockIdx.z;
  const Part part(task.tokens, task.width, task.tile);
  const int tile = task.tile, depth = task.width, padded_rows = padded(part.rows),
            width = padded(part.columns);
  TileRoom room;
  const Tile q = room.take(tile, depth), k = room.take(tile, depth), v = room.take(tile, part.columns),
             scores = room.take(tile, tile);
  float *largest = room.take_floats(tile), *sum = room.take_floats(tile), *shrink = room.take_floats(tile);
  const int thread = static_cast<int>(threadIdx.x);
  load_tile(q, task.q.at(batch, part.first_token, head), task.q.token_stride, part.rows, padded_rows, depth);
  if (thread < tile) {
    largest[thread] = -INFINITY;
    sum[thread] = 0;
  }
  const Micro micro(thread, padded_rows, width);
  const bool computes = thread < micros(padded_rows, width);
  Sums sums = {};
  for (int k0 = 0; k0 < task.tokens; k0 += tile) {
    const int keys = min(tile, task.tokens - k0), padded_keys = padded(keys);
    load_tile(k, task.k.at(batch, k0, head), task.k.token_stride, keys, padded_keys, depth);
    load_tile(v, task.v.at(batch, k0, head) + part.first_column, task.v.token_stride, keys, padded_keys,
              part.columns);
    __syncthreads();
    product(padded_rows, padded_keys, depth, q, k.transposed(), [&](int row, int key, float score) {
      scores(row, key) = key < keys ? score * task.scale : -INFINITY;
    });
    __syncthreads();
    const int row = thread / kLanesOfRow, first = thread % kLanesOfRow * kColumnsOfLane;
    const bool has_row = row < padded_rows;
    const int last = min(first + kColumnsOfLane, padded_keys);
    const float before = has_row ? largest[row] : 0;
    float now = before;
    for (int key = first; has_row && key < last; ++key) now = fmaxf(now, scores(row, key));
    for (int lanes = 1; lanes < kLanesOfRow; lanes *= 2)
      now = fmaxf(now, __shfl_xor_sync(kAllLanes, now, lanes));
    float total = 0;
    for (int key = first; has_row && key < last; ++key) {
      const float weight = expf(scores(row, key) - now);
      scores(row, key) = weight;
      total += weight;
    }
    for (int lanes = 1; lanes < kLanesOfRow; lanes *= 2) total += __shfl_xor_sync(kAllLanes, total, lanes);
    __syncwarp();  // all four have read largest[row]
    if (has_row && first == 0) {
      shrink[row] = expf(before - now);
      sum[row] = sum[row] * shrink[row] + total;
      largest[row] = now;
    }
    __syncthreads();
    if (computes) {
      for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) sums.value[i][j] *= shrink[micro.row_of(i)];
      }
      multiply(sums, micro, scores, v, keys);
    }
    __syncthreads();
  }
  for (int i = 0; computes && i < 4; ++i) {
    const int row = micro.row_of(i);
    if (row >= part.rows) continue;
    S* o = task.o.at(batch, part.first_token + row, head) + part.first_column;
    for (int j = 0; j < 4; ++j) {
      if (micro.column_of(j) < part.columns) store(o + micro.column_of(j), sums.value[i][j] / sum[row]);
    }
  }
  if (task.log_sum_exp && part.first_column == 0 && thread < part.rows) {
    task.log_sum_exp[batch * task.statistics_batch + head * task.statistics_head + part.first_token +
                     thread] = largest[thread] + logf(sum[thread]);
  }
}

// y_outer = Σ_inner W(outer, inner) · c_inner, where W is P = exp(scale · q·k − log_sum_exp), or, with
// `derivative`, dS = scale · P · (d_o·v − Σ d_o·o). Queries are outer for d_q, inner for d_k and d_v.
template <class S>
struct AttendGradient {
  Tokens<S> outer_score, inner_score;            // q and k, or k and q
  Tokens<S> outer_derivative, inner_derivative;  // d_o and v, or v and d_o
  Tokens<S> c, y;
  const float *log_sum_exp, *correction;  // [batch, heads, tokens]; correction = Σ d_o·o
  std::int64_t statistics_batch, statistics_head;
  float scale;
  int tokens, width, tile;
  bool queries_outer, derivative;
};

template <class S>
__global__ void __launch_bounds__(kTileThreads, kTileBlocks)
    attend_gradient(const __grid_constant__ AttendGradient<S> task) {
  const unsigned head = blockIdx.y, batch = blockIdx.z;
  const Part part(task.tokens, task.width, task.tile);
  const int tile = task.tile, depth = task.width, padded_rows = padded(part.rows),
            width = padded(part.columns);
  TileRoom room;
  const Tile outer = room.take(tile, depth), inner = room.take(tile, depth),
             c = room.take(tile, part.columns), weights = room.take(tile, tile),
             outer_d = room.take(tile, depth), inner_d = room.take(tile, depth);
  const float* log_sum_exp = task.log_sum_exp + batch * task.statistics_batch + head * task.statistics_head;
  const float* correction =
      task.correction + (static_cast<std::int64_t>(batch) * gridDim.y + head) * task.tokens;
  load_tile(outer, task.outer_score.at(batch, part.first_token, head), task.outer_score.token_stride,
            part.rows, padded_rows, depth);
  if (task.derivative) {
    load_tile(outer_d, task.outer_derivative.at(batch, part.first_token, head),
              task.outer_derivative.token_stride, part.rows, padded_rows, depth);
  }
  const Micro micro(static_cast<int>(threadIdx.x), padded_rows, width);
  const bool computes = static_cast<int>(threadIdx.x) < micros(padded_rows, width);
  Sums sums = {};
  for (int first = 0; first < task.tokens; first += tile) {
    const int count = min(tile, task.tokens - first), padded_count = padded(count);
    load_tile(inner, task.inner_score.at(batch, first, head), task.inner_score.token_stride, count,
              padded_count, depth);
    load_tile(c, task.c.at(batch, first, head) + part.first_column, task.c.token_stride, count, padded_count,
              part.columns);
    if (task.derivative) {
      load_tile(inner_d, task.inner_derivative.at(batch, first, head), task.inner_derivative.token_stride,
                count, padded_count, depth);
    }
    __syncthreads();
    const auto query_of = [&](int row, int column) {
      return task.queries_outer ? part.first_token + row : first + column;
    };
    product(
        padded_rows, padded_count, depth, outer, inner.transposed(), [&](int row, int column, float score) {
          const bool inside = row < part.rows && column < count;
          weights(row, column) = inside ? expf(score * task.scale - log_sum_exp[query_of(row, column)]) : 0;
        });
    if (task.derivative) {  // the same thread has the same elements
      product(padded_rows, padded_count, depth, outer_d, inner_d.transposed(),
              [&](int row, int column, float d_weight) {
                const bool inside = row < part.rows && column < count;
                weights(row, column) *=
                    inside ? (d_weight - correction[query_of(row, column)]) * task.scale : 0;
              });
    }
    __syncthreads();
    if (computes) multiply(sums, micro, weights, c, count);
    __syncthreads();
  }
  for (int i = 0; computes && i < 4; ++i) {
    const int row = micro.row_of(i);
    if (row >= part.rows) continue;
    S* y = task.y.at(batch, part.first_token + row, head) + part.first_column;
    for (int j = 0; j < 4; ++j) {
      if (micro.column_of(j) < part.columns) store(y + micro.column_of(j), sums.value[i][j]);
    }
  }
}

// correction[b, h, t] = Σ d_o·o. A warp a row of [batch, tokens, heads].
template <class S>
__global__ void __launch_bounds__(kTileThreads)
    correct(const __grid_constant__ Rows<2> rows, int tokens, int heads, float* correction) {
  const unsigned row = blockIdx.x * (kTileThreads / kWarpSize) + threadIdx.x / kWarpSize;
  if (row >= rows.rows) return;
  const S *d_o = rows.at<S>(0, row), *o = rows.at<S>(1, row);
  const float sum = row_sum(rows.width, [&](unsigned c) { return load(d_o + c) * load(o + c); });
  const unsigned head = row % heads, token = row / heads % tokens, batch = row / heads / tokens;
  if (lane() == 0) {
    correction[(static_cast<std::int64_t>(batch) * heads + head) * tokens + token] = sum;
  }
}

int tile_of(std::int64_t tokens) {
  return static_cast<int>(std::min<std::int64_t>(kTileTokens, padded(static_cast<int>(tokens))));
}

Launch launch_of(const char* op, const View& q, int tile, int floats, cudaStream_t stream) {
  const std::size_t shared_bytes = static_cast<std::size_t>(floats) * sizeof(float);
  require_room_for_heads(op, q.extent(3), shared_bytes);
  const auto tiles = static_cast<unsigned>((q.extent(1) + tile - 1) / tile);
  const auto columns = static_cast<unsigned>((q.extent(3) + kTileColumns - 1) / kTileColumns);
  return {.grid = {tiles * columns, static_cast<unsigned>(q.extent(2)), static_cast<unsigned>(q.extent(0))},
          .block = {kTileThreads},
          .stream = stream,
          .shared_bytes = shared_bytes};
}

View take_correction(const ops::AttentionGradient& op, ops::Workspace& workspace) {
  return workspace.take(DType::f32, op.log_sum_exp.shape());
}

}  // namespace

std::size_t workspace_bytes(const ops::Attention&) {
  return 0;
}
std::size_t workspace_bytes(const ops::AttentionGradient& op) {
  ops::Workspace workspace;
  take_correction(op, workspace);
  return workspace.bytes();
}

namespace {

template <class S>
void run_attention(const ops::Attention& op, cudaStream_t stream) {
  Attend<S> task{.q = Tokens<S>(op.q), .k = Tokens<S>(op.k), .v = Tokens<S>(op.v), .o = Tokens<S>(op.o)};
  if (op.log_sum_exp) {
    task.log_sum_exp = op.log_sum_exp.data<float>();
    task.statistics_batch = op.log_sum_exp.stride(0);
    task.statistics_head = op.log_sum_exp.stride(1);
  }
  task.scale = op.scale;
  task.tokens = static_cast<int>(op.q.extent(1));
  task.width = static_cast<int>(op.q.extent(3));
  task.tile = tile_of(op.q.extent(1));
  const int floats = 2 * tile_floats(task.tile, task.width) +
                     tile_floats(task.tile, std::min(kTileColumns, task.width)) +
                     tile_floats(task.tile, task.tile) + 3 * task.tile;
  launch(attend<S>, launch_of("Attention", op.q, task.tile, floats, stream), task);
}

template <class S>
void run_gradient(const ops::AttentionGradient& op, cudaStream_t stream) {
  ops::Workspace workspace(op.workspace);
  float* correction = take_correction(op, workspace).data<float>();
  const auto tokens = static_cast<int>(op.q.extent(1)), heads = static_cast<int>(op.q.extent(2));
  const auto rows = innermost_rows<2>({op.d_o, op.o});
  constexpr unsigned kRows = kTileThreads / kWarpSize;
  launch(correct<S>, {.grid = {(rows.rows + kRows - 1) / kRows}, .block = {kTileThreads}, .stream = stream},
         rows, tokens, heads, correction);
  const auto run_one = [&](const View& c, const View& y, bool queries_outer, bool derivative) {
    const AttendGradient<S> task{.outer_score = Tokens<S>(queries_outer ? op.q : op.k),
                                 .inner_score = Tokens<S>(queries_outer ? op.k : op.q),
                                 .outer_derivative = Tokens<S>(queries_outer ? op.d_o : op.v),
                                 .inner_derivative = Tokens<S>(queries_outer ? op.v : op.d_o),
                                 .c = Tokens<S>(c),
                                 .y = Tokens<S>(y),
                                 .log_sum_exp = op.log_sum_exp.data<float>(),
                                 .correction = correction,
                                 .statistics_batch = op.log_sum_exp.stride(0),
                                 .statistics_head = op.log_sum_exp.stride(1),
                                 .scale = op.scale,
                                 .tokens = tokens,
                                 .width = static_cast<int>(op.q.extent(3)),
                                 .tile = tile_of(tokens),
                                 .queries_outer = queries_outer,
                                 .derivative = derivative};
    const int floats = (derivative ? 4 : 2) * tile_floats(task.tile, task.width) +
                       tile_floats(task.tile, std::min(kTileColumns, task.width)) +
                       tile_floats(task.tile, task.tile);
    launch(attend_gradient<S>, launch_of("AttentionGradient", op.q, task.tile, floats, stream), task);
  };
  run_one(op.k, op.d_q, true, true);
  run_one(op.q, op.d_k, false, true);
  run_one(op.d_o, op.d_v, false, false);
}

}  // namespace

void run(const ops::Attention& op, cudaStream_t stream) {
  if (op.q.elements() == 0) return;
  with_storage(op.q.dtype(), [&]<class S>(S) { run_attention<S>(op, stream); });
}

void run(const ops::AttentionGradient& op, cudaStream_t stream) {
  if (op.q.elements() == 0) return;
  with_storage(op.q.dtype(), [&]<class S>(S) { run_gradient<S>(op, stream); });
}

}  // namespace vretnet::cuda
