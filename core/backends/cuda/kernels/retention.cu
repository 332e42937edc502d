// Retention in every form, and its gradient, by one machine of chunks (MODEL equations: core/README.md).
// Ret(A, B, C; D) with A = Q, B = K, C = V is the op; its gradients are dQ = Ret(dO, V, K; D), dK = Ret(V,
// dO, Q; Dᵀ) and dV = Ret(K, Q, dO; Dᵀ): the same kernel with its arguments exchanged. Parallel is one chunk
// of all tokens, recurrent a chunk whose decays are powers of γ, made on the device. RetentionBlock is the
// same kernel, which then turns and scales Q and K where it reads them, and norms and gates the values where
// it has them; heads wider than a block's columns take one row kernel more.
//   Memory: A is read once a sweep; B and C once a sweep for chunks of up to 32 tokens, else once for each 32
//   rows of A in their chunk; Y is written once, what the first of two sweeps found is written and read
//   before. The state never leaves shared memory. Masks [heads, B, B] are shared by the batch and stay in L2.
//   Launch: blocks of 128 for 64 columns of values, of 256 for 128 where d_k ≤ 64, grid (batch · heads,
//   values / columns); a block walks the chunks in order. Shared memory: tiles of A, whose place the values
//   take where they are normed, B (≤ 32 × d_k), C (≤ 32 × columns), scores (≤ 32 × 32) and the state (d_k ×
//   columns), 45 KiB at d_k = d_v = 64, 77 KiB at 64 and 128.
#include <algorithm>
#include <type_traits>

#include "core/backends/cuda/kernels.h"
#include "core/backends/cuda/kernels/retention.cuh"
#include "core/backends/cuda/launch.h"
#include "core/ops/workspace.h"

namespace vretnet::cuda {
namespace {

template <class S>
__device__ inline void clear_or_load_state(const Tile& state, const Retain<S>& task, unsigned batch,
                                           unsigned head, int first_column, int columns, bool given) {
  const int width = padded(columns), rows = padded(task.key_width);
  const float* source = given ? task.state_in.at(batch, head) : nullptr;
  for (int i = static_cast<int>(threadIdx.x); i < rows * width; i += threads_of_block()) {
    const int r = i / width, c = i % width;
    const bool inside = given && r < task.key_width && c < columns;
    state(r, c) =
        inside ? source[r * task.state_in.row_stride + (first_column + c) * task.state_in.column_stride] : 0;
  }
}

template <class S>
__global__ void __launch_bounds__(2 * kTileThreads, kTileBlocks / 2)
    retain(const __grid_constant__ Retain<S> task) {
  const unsigned head = blockIdx.x % task.heads, batch = blockIdx.x / task.heads;
  const int most_columns = threads_of_block() / kTileThreads * kTileColumns;
  const int first_column = static_cast<int>(blockIdx.y) * most_columns;
  const int columns = min(most_columns, task.value_width - first_column), width = padded(columns);
  const int depth = task.key_width, tile = task.tile;
  TileRoom room;
  const Tile b = room.take(tile, depth), c = room.take(tile, columns), scores = room.take(tile, tile),
             state = room.take(depth, columns), a = room.take(tile, depth);
  const Tile values{a.data, tile_stride(columns), 1};  // in the place of a
  const float* mask = task.mask + static_cast<std::int64_t>(head) * task.chunk * task.chunk;
  const float* input_scale =
      task.input_scale ? task.input_scale + static_cast<std::int64_t>(head) * task.tokens : nullptr;
  const int chunks = (task.tokens + task.chunk - 1) / task.chunk;

#pragma unroll 1
  for (int s = 0; s < 2; ++s) {
    const Sweep& sweep = task.sweeps[s];
    if (!sweep.active) continue;
    bool has_state = s == 0 && task.state_in.data != nullptr;
    const bool keeps_state = s == 0 && task.state_out.data != nullptr, ends = task.ends_with(s);
    clear_or_load_state(state, task, batch, head, first_column, columns, has_state);
    for (int n = 0; n < chunks; ++n) {
      const int index = sweep.up ? chunks - 1 - n : n, begin = index * task.chunk;
      const int length = min(task.chunk, task.tokens - begin), missing = task.chunk - length;
      for (int q0 = 0; q0 < length; q0 += tile) {
        const int rows = min(tile, length - q0), padded_rows = padded(rows);
        load_turned_tile(a, task.a.at(batch, begin + q0, head), task.a.token_stride, rows, padded_rows, depth,
                         task.turn_a, begin + q0);
        const Micro micro(static_cast<int>(threadIdx.x), padded_rows, width);
        const bool computes = static_cast<int>(threadIdx.x) < micros(padded_rows, width);
        Sums sums = {};
        for (int k0 = 0; sweep.masked && k0 < length; k0 += tile) {
          const int keys = min(tile, length - k0), padded_keys = padded(keys);
          if (all_masked(task, q0, rows, k0, keys)) continue;
          load_turned_tile(b, task.b.at(batch, begin + k0, head), task.b.token_stride, keys, padded_keys,
                           depth, task.turn_b, begin + k0);
          load_tile(c, task.c.at(batch, begin + k0, head) + first_column, task.c.token_stride, keys,
                    padded_keys, columns, input_scale ? input_scale + begin + k0 : nullptr);
          __syncthreads();
          product(padded_rows, padded_keys, depth, a, b.transposed(), [&](int row, int key, float sum) {
            scores(row, key) = row < rows && key < keys
                                   ? sum * mask[(q0 + row) * task.mask_row + (k0 + key) * task.mask_column]
                                   : 0;
          });
          __syncthreads();
          if (computes) multiply(sums, micro, scores, c, keys);
          if (length > tile) __syncthreads();  // b, c and the scores are needed no more
        }
        // a and the state are there, c is needed no more: a masked sweep has waited for a, one that ends
        // waits below.
        if (!sweep.masked || !ends) __syncthreads();
        if (computes && has_state) {
          Sums read = {};
          multiply(read, micro, a, state, depth);
          const float* weights = sweep.read.of(head, task.chunk, missing) + q0;
          for (int i = 0; i < 4; ++i) {
            const float weight = micro.row_of(i) < rows ? weights[micro.row_of(i)] : 0;
            for (int j = 0; j < 4; ++j) sums.value[i][j] += weight * read.value[i][j];
          }
        }
        if (ends && has_state) __syncthreads();  // a is needed no more
        for (int i = 0; computes && i < 4; ++i) {
          const int row = micro.row_of(i);
          if (row >= rows) continue;
          const int token = begin + q0 + row;
          const float scale = task.output_scale
                                  ? task.output_scale[static_cast<std::int64_t>(head) * task.tokens + token]
                                  : 1;
          const auto y = [&](int column) { return task.y.at(batch, token, head) + first_column + column; };
          for (int j = 0; j < 4; ++j) {
            const int column = micro.column_of(j);
            if (column >= columns) continue;
            float value = scale * sums.value[i][j];
            if (s == 1) value += load(y(column));
            if (ends) {
              values(row, column) = value;
            } else {
              store(y(column), value);
            }
          }
        }
        if (ends) {
          __syncthreads();
          normalize_tile(task, batch, head, begin + q0, rows, values.data, values.row);
        }
        if (q0 + tile < length) __syncthreads();  // the next rows take the place of a
      }
      if (n + 1 == chunks && !keeps_state) continue;
      const float* weights = sweep.write.of(head, task.chunk, missing);
      for (int k0 = 0; k0 < length; k0 += tile) {
        const int keys = min(tile, length - k0), padded_keys = padded(keys);
        if (!sweep.masked || length > tile) {  // else the chunk's b and c are still there
          load_turned_tile(b, task.b.at(batch, begin + k0, head), task.b.token_stride, keys, padded_keys,
                           depth, task.turn_b, begin + k0);
          load_tile(c, task.c.at(batch, begin + k0, head) + first_column, task.c.token_stride, keys,
                    padded_keys, columns, input_scale ? input_scale + begin + k0 : nullptr);
        }
        // The elements of c that this thread loaded.
        for (int i = static_cast<int>(threadIdx.x); i < keys * width; i += threads_of_block()) {
          c(i / width, i % width) *= weights[k0 + i / width];
        }
        __syncthreads();
        const float carry = k0 == 0 ? task.carry[2 * head + (begin + task.chunk < task.tokens ? 0 : 1)] : 1;
        product(padded(depth), width, keys, b.transposed(), c, [&](int row, int column, float sum) {
          state(row, column) = carry * state(row, column) + sum;
        });
        __syncthreads();
      }
      has_state = true;
    }
    if (keeps_state) {
      float* target = task.state_out.at(batch, head);
      for (int i = static_cast<int>(threadIdx.x); i < depth * columns; i += threads_of_block()) {
        const int r = i / columns, column = i % columns;
        target[r * task.state_out.row_stride + (first_column + column) * task.state_out.column_stride] =
            state(r, column);
      }
    }
    __syncthreads();  // the next sweep clears the state
  }
}

template <class S>
void launch_retain(const char* op, Retain<S> task, std::int64_t batch, cudaStream_t stream) {
  if constexpr (std::is_same_v<S, BFloat16>) {
    if (fits_fragments(task)) return launch_retain_by_fragments(task, batch, stream);
  }
  task.tile = std::min(kTileTokens, padded(std::min(task.chunk, task.tokens)));
  const int parts = task.value_width > kTileColumns ? widest_values(task.key_width) / kTileColumns : 1;
  const int columns = std::min(parts * kTileColumns, task.value_width);
  expect(task.normalized.data == nullptr || columns == task.value_width, "a norm of a part of a head");
  const int of_values = tile_floats(task.tile, columns), of_keys = tile_floats(task.tile, task.key_width);
  const int floats = of_keys + of_values + tile_floats(task.tile, task.tile) +
                     tile_floats(task.key_width, columns) +
                     (task.normalized.data ? std::max(of_keys, of_values) : of_keys);
  const std::size_t shared_bytes = static_cast<std::size_t>(floats) * sizeof(float);
  require_room_for_heads(op, task.key_width, shared_bytes);
  launch(retain<S>,
         {.grid = {static_cast<unsigned>(batch * task.heads),
                   static_cast<unsigned>((task.value_width + columns - 1) / columns)},
          .block = {static_cast<unsigned>(parts * kTileThreads)},
          .stream = stream,
          .shared_bytes = shared_bytes},
         task);
}

// ---------------------------------------------------------------------------------------- decays from γ

// The tables of a chunk of `chunk` tokens as ops::DecayTables has them, from γ alone: raster, or one patch
// row of row decay. A thread an element.
struct PowerTables {
  const float* gamma;
  float *mask, *xi, *zeta, *xi_up, *zeta_up, *carry;
  int heads, chunk, last;  // tokens of a full chunk and of the last
  bool by_row, bidirectional;
};
constexpr unsigned kPowerThreads = 128;

__global__ void __launch_bounds__(kPowerThreads) make_powers(const __grid_constant__ PowerTables tables) {
  const int chunk = tables.chunk, square = chunk * chunk, of_head = square + chunk;
  const int index = static_cast<int>(blockIdx.x * kPowerThreads + threadIdx.x);
  const int head = index / of_head, at = index % of_head;
  if (head >= tables.heads) return;
  const float gamma = tables.gamma[head];
  const auto power = [&](int exponent) { return powf(gamma, static_cast<float>(exponent)); };
  if (at < square) {
    const int distance = at / chunk - at % chunk;
    const bool hidden = distance < 0 && !tables.by_row && !tables.bidirectional;
    tables.mask[static_cast<std::int64_t>(head) * square + at] =
        hidden ? 0 : power(distance < 0 ? -distance : distance);
    return;
  }
  const int j = at - square, place = head * chunk + j;
  tables.xi[place] = tables.by_row ? gamma : power(j + 1);
  tables.zeta[place] = tables.by_row ? 1 : power(chunk - 1 - j);
  tables.xi_up[place] = tables.by_row ? gamma : power(chunk - j);
  tables.zeta_up[place] = tables.by_row ? 1 : power(j);
  if (j == 0) {
    tables.carry[2 * head] = tables.by_row ? gamma : power(chunk);
    tables.carry[2 * head + 1] = tables.by_row ? gamma : power(tables.last);
  }
}

const float* address(const View& view) {
  return view && view.elements() > 0 ? view.data<float>() : nullptr;
}

struct Tables {
  const float *mask, *xi, *zeta, *xi_up, *zeta_up, *carry;
  int chunk;
};

// The op's own tables, or for the recurrent form tables of powers in the workspace.
Tables tables_of(const auto& op, ops::Workspace& workspace, const cudaStream_t* stream) {
  const auto tokens = static_cast<int>(op.q.extent(1));
  const ops::RetentionPattern& pattern = op.pattern;
  if (pattern.form != ops::RetentionForm::recurrent) {
    const int chunk =
        pattern.form == ops::RetentionForm::chunkwise ? static_cast<int>(pattern.chunk) : tokens;
    if (!stream) return {.chunk = chunk};
    const ops::DecayTables& tables = op.tables;
    for (const View& view :
         {tables.mask, tables.xi, tables.zeta, tables.carry, tables.xi_up, tables.zeta_up}) {
      expect(!view || view.contiguous(), "a decay table has gaps");
    }
    return {address(tables.mask),
            address(tables.xi),
            address(tables.zeta),
            address(tables.xi_up),
            address(tables.zeta_up),
            address(tables.carry),
            chunk};
  }
  const bool by_row = pattern.decay == ops::DecayKind::row;
  const int chunk = by_row ? static_cast<int>(pattern.row_width) : std::min(tokens, kTileTokens);
  const std::int64_t heads = op.q.extent(2);
  const View mask = workspace.take(DType::f32, {heads, chunk, chunk});
  const View decays = workspace.take(DType::f32, {4, heads, chunk});
  const View carry = workspace.take(DType::f32, {heads, 2});
  if (!stream) return {.chunk = chunk};
  const auto part = [&](int i) { return decays.select(0, i).template data<float>(); };
  expect(op.tables.gamma.contiguous(), "γ has gaps");
  const PowerTables powers{.gamma = address(op.tables.gamma),
                           .mask = mask.data<float>(),
                           .xi = part(0),
                           .zeta = part(1),
                           .xi_up = part(2),
                           .zeta_up = part(3),
                           .carry = carry.data<float>(),
                           .heads = static_cast<int>(heads),
                           .chunk = chunk,
                           .last = (tokens - 1) % chunk + 1,
                           .by_row = by_row,
                           .bidirectional = pattern.bidirectional};
  const auto threads = static_cast<unsigned>(heads * (chunk * chunk + chunk));
  launch(
      make_powers,
      {.grid = {(threads + kPowerThreads - 1) / kPowerThreads}, .block = {kPowerThreads}, .stream = *stream},
      powers);
  return {powers.mask, powers.xi, powers.zeta, powers.xi_up, powers.zeta_up, powers.carry, chunk};
}

StateView state_of(const View& view, bool transposed) {
  if (!view) return {};
  StateView state{view.data<float>(), view.stride(0), view.stride(1), view.stride(2), view.stride(3)};
  if (transposed) std::swap(state.row_stride, state.column_stride);
  return state;
}

bool has_second_sweep(const ops::RetentionPattern& pattern, int chunk, std::int64_t tokens) {
  return pattern.bidirectional && chunk < tokens;
}

// Ret(a, b, c; D) → y, or with Dᵀ.
template <class S>
Retain<S> task_of(const auto& op, const Tables& tables, const View& a, const View& b, const View& c,
                  const View& y, bool transposed) {
  Retain<S> task{.a = Tokens<S>(a), .b = Tokens<S>(b), .c = Tokens<S>(c)};
  if (y) task.y = Tokens<S>(y);
  const ops::RetentionPattern& pattern = op.pattern;
  const Decays xi{tables.xi, false}, zeta{tables.zeta, true}, xi_up{tables.xi_up, true},
      zeta_up{tables.zeta_up, false};
  task.sweeps[0] = {true, transposed, true, transposed ? zeta : xi, transposed ? xi : zeta};
  task.sweeps[1] = {has_second_sweep(pattern, tables.chunk, op.q.extent(1)), !transposed, false,
                    transposed ? zeta_up : xi_up, transposed ? xi_up : zeta_up};
  task.mask = tables.mask;
  task.mask_row = transposed ? 1 : tables.chunk;
  task.mask_column = transposed ? tables.chunk : 1;
  task.mask_is_transposed = transposed;
  task.tokens = static_cast<int>(op.q.extent(1));
  task.reach = pattern.bidirectional                  ? task.tokens
               : pattern.decay == ops::DecayKind::row ? static_cast<int>(pattern.row_width)
                                                      : 1;
  task.carry = tables.carry;
  task.chunk = tables.chunk;
  task.heads = static_cast<int>(op.q.extent(2));
  task.turn_a.scale = task.turn_b.scale = 1;
  task.key_width = static_cast<int>(a.extent(3));
  task.value_width = static_cast<int>(c.extent(3));
  return task;
}

// Whether one block has all values of a head, and can norm them.
bool has_whole_heads(const ops::RetentionBlock& op) {
  return op.v.extent(3) <= widest_values(static_cast<int>(op.k.extent(3)));
}
// Retention on its way from one sweep, or kernel, to the next; nothing where one does all.
View take_unnormalized(const ops::RetentionBlock& op, int chunk, ops::Workspace& workspace) {
  if (has_whole_heads(op) && !has_second_sweep(op.pattern, chunk, op.q.extent(1))) return {};
  return workspace.take(op.v.dtype(), op.v.shape());
}

std::size_t tables_bytes(const auto& op) {
  if (op.q.elements() == 0) return 0;
  ops::Workspace workspace;
  tables_of(op, workspace, nullptr);
  return workspace.bytes();
}

}  // namespace

std::size_t workspace_bytes(const ops::Retention& op) {
  return tables_bytes(op);
}
std::size_t workspace_bytes(const ops::RetentionGradient& op) {
  return tables_bytes(op);
}

void run(const ops::Retention& op, cudaStream_t stream) {
  if (op.q.elements() == 0) return;
  ops::Workspace workspace(op.workspace);
  const Tables tables = tables_of(op, workspace, &stream);
  with_storage(op.q.dtype(), [&]<class S>(S) {
    Retain<S> task = task_of<S>(op, tables, op.q, op.k, op.v, op.o, false);
    task.output_scale = address(op.tables.row_scale);
    task.state_in = state_of(op.state_in, false);
    task.state_out = state_of(op.state_out, false);
    launch_retain("Retention", task, op.q.extent(0), stream);
  });
}

std::size_t workspace_bytes(const ops::RetentionBlock& op) {
  if (op.q.elements() == 0) return 0;
  ops::Workspace workspace;
  take_unnormalized(op, tables_of(op, workspace, nullptr).chunk, workspace);
  return workspace.bytes();
}

void run(const ops::RetentionBlock& op, cudaStream_t stream) {
  if (op.q.elements() == 0) return;
  ops::Workspace workspace(op.workspace);
  const Tables tables = tables_of(op, workspace, &stream);
  const View o = take_unnormalized(op, tables.chunk, workspace);
  const bool fused = has_whole_heads(op);
  for (const View& angles : {op.cosine, op.sine}) expect(!angles || angles.contiguous(), "angles have gaps");
  with_storage(op.q.dtype(), [&]<class S>(S) {
    Retain<S> task = task_of<S>(op, tables, op.q, op.k, op.v, o, false);
    task.output_scale = address(op.tables.row_scale);
    task.state_in = state_of(op.state_in, false);
    task.state_out = state_of(op.state_out, false);
    task.turn_a = {address(op.cosine), address(op.sine), 1};
    task.turn_b = {address(op.cosine), address(op.sine), op.key_scale};
    if (fused) {
      task.normalized = Tokens<S>(op.y);
      if (op.g) task.gate = Tokens<S>(op.g);
      task.norm = Norm<S>{.epsilon = op.epsilon,
                          .centered = op.head_norm == ops::HeadNormKind::layer,
                          .accumulate = op.write == ops::Write::accumulate};
    }
    launch_retain("RetentionBlock", task, op.q.extent(0), stream);
  });
  if (!fused) run_gated_norm(o, op.g, op.y, op.head_norm, op.epsilon, op.write, stream);
}

void run(const ops::RetentionGradient& op, cudaStream_t stream) {
  if (op.q.elements() == 0) return;
  ops::Workspace workspace(op.workspace);
  const Tables tables = tables_of(op, workspace, &stream);
  const std::int64_t batch = op.q.extent(0);
  with_storage(op.q.dtype(), [&]<class S>(S) {
    Retain<S> d_q = task_of<S>(op, tables, op.d_o, op.v, op.k, op.d_q, false);
    d_q.output_scale = address(op.tables.row_scale);
    d_q.state_in = state_of(op.state_in, true);
    launch_retain("RetentionGradient", d_q, batch, stream);
    Retain<S> d_k = task_of<S>(op, tables, op.v, op.d_o, op.q, op.d_k, true);
    d_k.input_scale = address(op.tables.row_scale);
    d_k.state_in = state_of(op.d_state_out, true);
    launch_retain("RetentionGradient", d_k, batch, stream);
    Retain<S> d_v = task_of<S>(op, tables, op.k, op.q, op.d_o, op.d_v, true);
    d_v.input_scale = address(op.tables.row_scale);
    d_v.state_in = state_of(op.d_state_out, false);
    d_v.state_out = state_of(op.d_state_in, false);
    launch_retain("RetentionGradient", d_v, batch, stream);
  });
}

}  // namespace vretnet::cuda
