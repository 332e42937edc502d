// What both kernels of retention are told: the simple one (retention.cu) and the one for tensor cores
// (retention_fragments.cu).
#pragma once

#include "core/backends/cuda/kernels/row_norm.cuh"
#include "core/backends/cuda/kernels/tiles.cuh"
#include "core/backends/cuda/kernels/tokens.cuh"

namespace vretnet::cuda {

// A row of decays a head, [heads, chunk]. A shorter last chunk uses its beginning, or its end where `late`.
struct Decays {
  const float* data;
  bool late;
  __device__ const float* of(unsigned head, int chunk, int missing) const {
    return data + static_cast<std::int64_t>(head) * chunk + (late ? missing : 0);
  }
};

// One walk over the chunks: tokens read the state with `read`, then give to it with `write`.
struct Sweep {
  bool active, up, masked;  // masked: this sweep adds the tokens of one chunk to each other
  Decays read, write;
};

struct StateView {  // [batch, heads, rows, columns]; null data: not given
  float* data;
  std::int64_t batch_stride, head_stride, row_stride, column_stride;
  __device__ float* at(unsigned batch, unsigned head) const {
    return data + batch * batch_stride + head * head_stride;
  }
};

template <class S>
struct Retain {
  Tokens<S> a, b, c;
  Tokens<S> y;  // what no head norm follows, and the sums of the first of two sweeps; else not given
  Sweep sweeps[2];
  StateView state_in, state_out;  // of the first sweep
  const float* mask;              // [heads, chunk, chunk]
  int mask_row, mask_column;      // strides: exchanged for Dᵀ
  int reach;  // D is 0 where the key is so many tokens or more behind (Dᵀ: before) the query
  bool mask_is_transposed;
  const float* carry;                       // [heads, 2]
  const float *output_scale, *input_scale;  // [heads, tokens], null: 1
  Turn turn_a, turn_b;
  int tokens, chunk, heads, key_width, value_width, tile;
  // Head norm and gate behind the last sweep, by blocks that have all values of a head (widest_values).
  Tokens<S> normalized;  // not given: y is the result
  Tokens<S> gate;        // not given: 1
  Norm<S> norm;

  __device__ bool ends_with(int sweep) const {
    return normalized.data != nullptr && (sweep == 1 || !sweeps[1].active);
  }
};

// A block has 64 columns of values, or 128 where keys are so narrow that the state of both has room: the
// widest heads that it can norm.
__host__ __device__ constexpr int widest_values(int key_width) {
  return key_width <= 64 ? 2 * kTileColumns : kTileColumns;
}

// Head norm and gate of `rows` tokens, whose values lie in shared memory `stride` apart: a warp a row.
template <class S>
__device__ inline void normalize_tile(const Retain<S>& task, unsigned batch, unsigned head, int first_token,
                                      int rows, const float* values, int stride) {
#pragma unroll 1
  for (int row = static_cast<int>(threadIdx.x) / kWarpSize; row < rows;
       row += threads_of_block() / kWarpSize) {
    const int token = first_token + row;
    const float* x = values + row * stride;
    normalize_row(task.normalized.at(batch, token, head),
                  task.gate.data ? task.gate.at(batch, token, head) : nullptr,
                  static_cast<unsigned>(task.value_width), task.norm, [&](unsigned c) { return x[c]; });
  }
}

// Whether no query of q0 … q0 + rows − 1 sees a key of k0 … k0 + keys − 1.
template <class S>
__device__ inline bool all_masked(const Retain<S>& task, int q0, int rows, int k0, int keys) {
  return task.mask_is_transposed ? q0 - (k0 + keys - 1) >= task.reach : k0 - (q0 + rows - 1) >= task.reach;
}

// Whether the kernel for tensor cores can run it: widths are multiples of 16, keys of at most 128, and four
// elements of a row lie together at a multiple of 8 bytes.
bool fits_fragments(const Retain<BFloat16>& task);
void launch_retain_by_fragments(Retain<BFloat16> task, std::int64_t batch, cudaStream_t stream);

}  // namespace vretnet::cuda
