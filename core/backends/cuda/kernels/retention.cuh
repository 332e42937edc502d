// What both kernels of retention are told: the simple one (retention.cu) and the one for tensor cores
// (retention_fragments.cu).
#pragma once

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
  Tokens<S> a, b, c, y;
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
};

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
