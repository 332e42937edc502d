// Retention of bf16 tensors by tensor cores: the machine of chunks of retention.cu, its products in fragments
// of 16 × 16 with bf16 factors and f32 sums.
//   Numbers: A and B are rounded to bf16 once they are turned and scaled, scores once D has met them, C once
//   it has met its weights, and the state where it is read; the state itself is f32 and stays in registers,
//   as fragments. Memory: as retention.cu, four elements (8 bytes) a lane, but for the normed Y and the gate;
//   A and B once for each grid column. Launch: blocks of 128 or 256, which have 16 columns of values a warp
//   (d_k ≤ 64) or two warps, grid (batch · heads, values / columns); a block walks the chunks in order, 32
//   tokens at a time. Shared memory, bf16 with rows 16 bytes longer than their elements, so that eight of
//   them fall into different banks: tiles of A, B (tokens × d_k), C (tokens × values), whose place the values
//   take in f32 where they are normed, and of the scores, whose place the state takes where it is read; a
//   fragment of f32 a warp: 28.5 KiB at d_k = d_v = 64, 33 KiB with head norm.
#include <algorithm>

#include "core/backends/cuda/kernels/retention.cuh"
#include "core/backends/cuda/kernels/warp.cuh"
#include "core/backends/cuda/launch.h"

namespace vretnet::cuda {
namespace {

constexpr int kSide = 16;
constexpr int kPadding = 8;       // elements that a row of bf16 is longer
constexpr int kStageStride = 24;  // of f32: pairs and quads of lanes meet no bank twice

// A warp has 16 columns of the outputs and of the state. Where d_k ≤ 64 all their rows (one group of rows),
// else every other 16 rows (two groups), so that four fragments of state are enough for it.
constexpr int kStates = 4;
__host__ __device__ constexpr int columns_of(int threads, int row_groups) {
  return threads / kWarpSize / row_groups * kSide;
}
__host__ __device__ constexpr int depth_limit(int row_groups) {
  return kStates * row_groups * kSide;
}

static_assert(columns_of(2 * kTileThreads, 1) == widest_values(depth_limit(1)) &&
              columns_of(2 * kTileThreads, 2) == widest_values(depth_limit(2)));

__host__ __device__ constexpr int in_fragments(int extent) {
  return (extent + kSide - 1) / kSide;
}
__host__ __device__ constexpr int half_tile_elements(int rows, int columns) {
  return rows * (columns + kPadding);
}

// A tile of bf16 from the first-th element of shared memory on.
struct HalfTile {
  int first, stride;
  __device__ BFloat16* at(int row, int column) const {
    return reinterpret_cast<BFloat16*>(shared_memory()) + first + row * stride + column;
  }
};

// A fragment of f32 in a warp's own shared memory: each lane has two quads of it.
struct Stage {
  int first;  // float of shared memory
  __device__ float* data() const { return shared_memory() + first; }
  __device__ static int row_of(int pass) {
    const int row = static_cast<int>(threadIdx.x) % kWarpSize / 4 + 8 * pass;
    return (row & ~3) | (row & 1) << 1 | (row >> 1 & 1);  // two and two rows, which are 16 banks apart
  }
  __device__ static int column() { return static_cast<int>(threadIdx.x) % 4 * 4; }
  __device__ float* quad(int pass) const { return data() + row_of(pass) * kStageStride + column(); }
  // visit(pass, row, column, quad) for the two quads of this lane; unrolled by 2 where the visitor keeps
  // something of each pass in registers.
  template <int unrolled = 1, class Visit>
  __device__ void for_each_quad(const SumsFragment& sums, const Visit& visit) const {
    store_sums(data(), sums, kStageStride);
    __syncwarp();
#pragma unroll unrolled
    for (int pass = 0; pass < 2; ++pass) visit(pass, row_of(pass), column(), load4(quad(pass)));
    __syncwarp();
  }
};

__device__ inline float4 scaled(float4 x, float factor) {
  return make_float4(x.x * factor, x.y * factor, x.z * factor, x.w * factor);
}
__device__ inline float4 sum_of(float4 x, float4 y) {
  return make_float4(x.x + y.x, x.y + y.y, x.z + y.z, x.w + y.w);
}

// tile(r, ..) = weight(r, source row r ..), four elements at a time, zero from `rows` to whole fragments.
template <class Change>
__device__ inline void load_half_tile(const HalfTile& tile, const BFloat16* source, std::int64_t row_stride,
                                      int rows, int columns, const Change& change) {
  const int quads = columns / 4;
  const int count = in_fragments(rows) * kSide * quads;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < count; i += threads_of_block()) {
    const int r = i / quads, c = i % quads * 4;
    float4 x = make_float4(0, 0, 0, 0);
    if (r < rows) x = change(r, c, load4(source + r * row_stride + c));
    store4(tile.at(r, c), x);
  }
}
__device__ inline void load_turned(const HalfTile& tile, const BFloat16* source, std::int64_t row_stride,
                                   int rows, int columns, const Turn& turn, int first_token) {
  load_half_tile(tile, source, row_stride, rows, columns, [&](int r, int c, float4 x) {
    if (turn.cosine == nullptr) return scaled(x, turn.scale);
    const int angle = ((first_token + r) * columns + c) / 2;
    const float *cosine = turn.cosine + angle, *sine = turn.sine + angle;
    return scaled(make_float4(x.x * cosine[0] - x.y * sine[0], x.x * sine[0] + x.y * cosine[0],
                              x.z * cosine[1] - x.w * sine[1], x.z * sine[1] + x.w * cosine[1]),
                  turn.scale);
  });
}
__device__ inline void load_weighted(const HalfTile& tile, const BFloat16* source, std::int64_t row_stride,
                                     int rows, int columns, const float* first, const float* second) {
  load_half_tile(tile, source, row_stride, rows, columns, [&](int r, int, float4 x) {
    return scaled(x, (first ? first[r] : 1) * (second ? second[r] : 1));
  });
}

// sums[i] += Σ_k left(row, k) · right(k) for the fragments of a warp, whose rows begin at row = first_row + i
// · row_step below `rows`; left_at(row, k) and right_at(k) are where the factors begin, k < depth.
template <Major left_major, int count, class LeftAt, class RightAt>
__device__ inline void multiply(SumsFragment (&sums)[count], int first_row, int row_step, int rows, int depth,
                                int left_stride, int right_stride, const LeftAt& left_at,
                                const RightAt& right_at) {
#pragma unroll 1
  for (int k = 0; k < depth; k += kSide) {
    RightFragment<Major::rows> b;
    load_fragment(b, right_at(k), right_stride);
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const int row = first_row + i * row_step;
      if (row >= rows) continue;
      LeftFragment<left_major> a;
      load_fragment(a, left_at(row, k), left_stride);
      multiply_add(sums[i], a, b);
    }
  }
}

template <int row_groups>
__global__ void __launch_bounds__(2 * kTileThreads, kTileBlocks / 2)
    retain_by_fragments(const __grid_constant__ Retain<BFloat16> task) {
  constexpr int kOutputs = kTileTokens / kSide / row_groups, kRowStep = row_groups * kSide;
  const int most_columns = columns_of(threads_of_block(), row_groups);
  const unsigned head = blockIdx.x % task.heads, batch = blockIdx.x / task.heads;
  const int first_column = static_cast<int>(blockIdx.y) * most_columns;
  const int columns = min(most_columns, task.value_width - first_column), depth = task.key_width,
            tile = task.tile;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize, own_column = warp / row_groups * kSide;
  const int first_row = warp % row_groups * kSide;
  const bool has_columns = own_column < columns;
  const Stage stage{warp * kSide * kStageStride};
  const int of_tokens = half_tile_elements(tile, depth), of_scores = half_tile_elements(tile, tile),
            of_state = half_tile_elements(depth, columns);
  const HalfTile a{2 * threads_of_block() / kWarpSize * kSide * kStageStride, depth + kPadding},
      b{a.first + of_tokens, a.stride}, scores{b.first + of_tokens, tile + kPadding},
      read_state{scores.first, columns + kPadding},
      c{scores.first + (of_scores > of_state ? of_scores : of_state), read_state.stride};
  // In the place of c, its rows as many elements apart.
  const auto values = [&](int row) { return shared_memory() + c.first / 2 + row * c.stride; };
  const float* mask = task.mask + static_cast<std::int64_t>(head) * task.chunk * task.chunk;
  const float* input_scale =
      task.input_scale ? task.input_scale + static_cast<int>(head) * task.tokens : nullptr;
  const int chunks = (task.tokens + task.chunk - 1) / task.chunk;

#pragma unroll 1
  for (int s = 0; s < 2; ++s) {
    const Sweep& sweep = task.sweeps[s];
    if (!sweep.active) continue;
    bool has_state = s == 0 && task.state_in.data != nullptr;
    const bool keeps_state = s == 0 && task.state_out.data != nullptr;
    SumsFragment state[kStates];
#pragma unroll
    for (int i = 0; i < kStates; ++i) {
      fill_sums(state[i], 0);
      if (!has_state || first_row + i * kRowStep >= depth || !has_columns) continue;
      const StateView& from = task.state_in;
      for (int pass = 0; pass < 2; ++pass) {
        const float* source = from.at(batch, head) +
                              (first_row + i * kRowStep + Stage::row_of(pass)) * from.row_stride +
                              (first_column + own_column + Stage::column()) * from.column_stride;
        store4(stage.quad(pass), make_float4(source[0], source[from.column_stride],
                                             source[2 * from.column_stride], source[3 * from.column_stride]));
      }
      __syncwarp();
      load_sums(state[i], stage.data(), kStageStride);
      __syncwarp();
    }
#pragma unroll 1
    for (int n = 0; n < chunks; ++n) {
      const int index = sweep.up ? chunks - 1 - n : n, begin = index * task.chunk;
      const int length = min(task.chunk, task.tokens - begin), missing = task.chunk - length;
      const bool gives = n + 1 < chunks || keeps_state, ends = task.ends_with(s);
      const bool reads =
          sweep.masked || has_state || ends;  // else the tokens get nothing from this sweep yet
#pragma unroll 1
      for (int q0 = 0; reads && q0 < length; q0 += tile) {
        const int rows = min(tile, length - q0), row_parts = in_fragments(rows);
        if (sweep.masked || has_state) {
          load_turned(a, task.a.at(batch, begin + q0, head), task.a.token_stride, rows, depth, task.turn_a,
                      begin + q0);
        }
        SumsFragment out[kOutputs];
#pragma unroll
        for (int i = 0; i < kOutputs; ++i) fill_sums(out[i], 0);
#pragma unroll 1
        for (int k0 = 0; sweep.masked && k0 < length; k0 += tile) {
          const int keys = min(tile, length - k0), key_parts = in_fragments(keys);
          if (all_masked(task, q0, rows, k0, keys)) continue;
          load_turned(b, task.b.at(batch, begin + k0, head), task.b.token_stride, keys, depth, task.turn_b,
                      begin + k0);
          load_weighted(c, task.c.at(batch, begin + k0, head) + first_column, task.c.token_stride, keys,
                        columns, input_scale ? input_scale + begin + k0 : nullptr, nullptr);
          __syncthreads();
#pragma unroll 1
          for (int i = warp; i < row_parts * key_parts; i += threads_of_block() / kWarpSize) {
            const int row_part = i / key_parts * kSide, key_part = i % key_parts * kSide;
            SumsFragment products;
            fill_sums(products, 0);
#pragma unroll 1
            for (int k = 0; k < depth; k += kSide) {
              LeftFragment<Major::rows> left;
              RightFragment<Major::columns> right;
              load_fragment(left, a.at(row_part, k), a.stride);
              load_fragment(right, b.at(key_part, k), b.stride);
              multiply_add(products, left, right);
            }
            stage.for_each_quad(products, [&](int, int r, int first, float4 quad) {
              const int row = row_part + r, key = key_part + first;
              const float* decays = mask + (q0 + row) * task.mask_row + (k0 + key) * task.mask_column;
              const int seen = row < rows ? keys - key : 0;
              const auto decay = [&](int j) { return j < seen ? decays[j * task.mask_column] : 0; };
              store4(scores.at(row, key),
                     make_float4(quad.x * decay(0), quad.y * decay(1), quad.z * decay(2), quad.w * decay(3)));
            });
          }
          __syncthreads();
          if (has_columns) {
            multiply<Major::rows>(
                out, first_row, kRowStep, rows, key_parts * kSide, scores.stride, c.stride,
                [&](int row, int k) { return scores.at(row, k); },
                [&](int k) { return c.at(k, own_column); });
          }
          __syncthreads();  // b, c and the scores are needed no more
        }
        if (has_state) {
#pragma unroll
          for (int i = 0; i < kStates; ++i) {
            if (first_row + i * kRowStep >= depth || !has_columns) continue;
            stage.for_each_quad(state[i], [&](int, int r, int first, float4 quad) {
              store4(read_state.at(first_row + i * kRowStep + r, own_column + first), quad);
            });
          }
          // A warp of one group reads the columns that it wrote; without a mask nobody has waited for a yet.
          if (row_groups > 1 || !sweep.masked) __syncthreads();
        }
        const float* weights = sweep.read.of(head, task.chunk, missing) + q0;
#pragma unroll
        for (int i = 0; i < kOutputs; ++i) {
          const int part = first_row + i * kRowStep;  // its first row
          if (part >= rows || !has_columns) continue;
          float4 from_state[2] = {make_float4(0, 0, 0, 0), make_float4(0, 0, 0, 0)};
          if (has_state) {
            SumsFragment read[1];
            fill_sums(read[0], 0);
            multiply<Major::rows>(
                read, part, kRowStep, rows, depth, a.stride, read_state.stride,
                [&](int row, int k) { return a.at(row, k); },
                [&](int k) { return read_state.at(k, own_column); });
            stage.for_each_quad<2>(read[0], [&](int pass, int r, int, float4 quad) {
              const float weight = part + r < rows ? weights[part + r] : 0;
              from_state[pass] = scaled(quad, weight);
            });
          }
          stage.for_each_quad<2>(out[i], [&](int pass, int r, int first, float4 quad) {
            const int row = part + r, token = begin + q0 + row;
            if (row >= rows) return;
            const int column = own_column + first;
            const auto y = [&] { return task.y.at(batch, token, head) + first_column + column; };
            float4 value = scaled(
                sum_of(quad, from_state[pass]),
                task.output_scale ? task.output_scale[static_cast<int>(head) * task.tokens + token] : 1);
            if (s == 1) value = sum_of(load4(y()), value);
            if (ends) {
              store4(values(row) + column, value);
            } else {
              store4(y(), value);
            }
          });
        }
        if (ends) {
          __syncthreads();
          normalize_tile(task, batch, head, begin + q0, rows, values(0), c.stride);
        }
        // The next rows take the place of a; a state that is given to waits for itself, but not for the
        // values.
        if (ends ? q0 + tile < length || gives : has_state && (q0 + tile < length || !gives)) __syncthreads();
      }
      if (!gives) continue;
      const float* weights = sweep.write.of(head, task.chunk, missing);
      const float carry = task.carry[2 * head + (begin + task.chunk < task.tokens ? 0 : 1)];
#pragma unroll 1
      for (int k0 = 0; k0 < length; k0 += tile) {
        const int keys = min(tile, length - k0), key_parts = in_fragments(keys);
        if (!sweep.masked || length > tile) {  // else the chunk's b is still there
          load_turned(b, task.b.at(batch, begin + k0, head), task.b.token_stride, keys, depth, task.turn_b,
                      begin + k0);
        }
        load_weighted(c, task.c.at(batch, begin + k0, head) + first_column, task.c.token_stride, keys,
                      columns, weights + k0, input_scale ? input_scale + begin + k0 : nullptr);
        __syncthreads();
        if (has_columns) {
          if (k0 == 0) {
#pragma unroll
            for (int i = 0; i < kStates; ++i) scale_sums(state[i], carry);
          }
          multiply<Major::columns>(
              state, first_row, kRowStep, depth, key_parts * kSide, b.stride, c.stride,
              [&](int row, int k) { return b.at(k, row); }, [&](int k) { return c.at(k, own_column); });
        }
        __syncthreads();  // b and c are needed no more
      }
      has_state = true;
    }
#pragma unroll
    for (int i = 0; i < kStates; ++i) {
      if (!keeps_state || first_row + i * kRowStep >= depth || !has_columns) continue;
      stage.for_each_quad(state[i], [&](int, int r, int first, float4 quad) {
        const StateView& to = task.state_out;
        float* target = to.at(batch, head) + (first_row + i * kRowStep + r) * to.row_stride +
                        (first_column + own_column + first) * to.column_stride;
        target[0] = quad.x;
        target[to.column_stride] = quad.y;
        target[2 * to.column_stride] = quad.z;
        target[3 * to.column_stride] = quad.w;
      });
    }
  }
}

bool by_quads(const Tokens<BFloat16>& tokens) {
  return reinterpret_cast<std::uintptr_t>(tokens.data) % (4 * sizeof(BFloat16)) == 0 &&
         tokens.batch_stride % 4 == 0 && tokens.token_stride % 4 == 0 && tokens.head_stride % 4 == 0;
}

template <int row_groups>
void launch_with(Retain<BFloat16>& task, std::int64_t batch, cudaStream_t stream) {
  const int length = in_fragments(std::min(task.chunk, task.tokens)) * kSide;
  task.tile = std::min(kTileTokens, length);
  const int threads =
      task.value_width > columns_of(kTileThreads, row_groups) ? 2 * kTileThreads : kTileThreads;
  const int columns = std::min(columns_of(threads, row_groups), task.value_width);
  expect(task.normalized.data == nullptr || columns == task.value_width, "a norm of a part of a head");
  const int halves =
      2 * half_tile_elements(task.tile, task.key_width) +
      (task.normalized.data ? 2 : 1) * half_tile_elements(task.tile, columns) +
      std::max(half_tile_elements(task.tile, task.tile), half_tile_elements(task.key_width, columns));
  launch(retain_by_fragments<row_groups>,
         {.grid = {static_cast<unsigned>(batch * task.heads),
                   static_cast<unsigned>((task.value_width + columns - 1) / columns)},
          .block = {static_cast<unsigned>(threads)},
          .stream = stream,
          .shared_bytes = static_cast<std::size_t>(halves) * sizeof(BFloat16) +
                          threads / kWarpSize * kSide * kStageStride * sizeof(float)},
         task);
}

}  // namespace

bool fits_fragments(const Retain<BFloat16>& task) {
  return task.key_width % kSide == 0 && task.key_width <= depth_limit(2) && task.value_width % kSide == 0 &&
         by_quads(task.a) && by_quads(task.b) && by_quads(task.c) && by_quads(task.y);
}

void launch_retain_by_fragments(Retain<BFloat16> task, std::int64_t batch, cudaStream_t stream) {
  task.key_width <= depth_limit(1) ? launch_with<1>(task, batch, stream)
                                   : launch_with<2>(task, batch, stream);
}

}  // namespace vretnet::cuda
