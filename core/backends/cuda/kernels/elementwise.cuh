// One kernel for everything that makes output elements from input elements at the same place.
//   Memory: every element of the kReads inputs is read once, every output element written once (and read once
//   where it accumulates), 16 bytes at a time where rows allow; outputs may be inputs. Launch: one thread for
//   four elements of a row, blocks of 256; no shared memory.
// A function is a struct with kReads, kWrites and
//   __device__ void operator()(const float* in, float* out) const;
#pragma once

#include "core/backends/cuda/kernels/rows.cuh"
#include "core/backends/cuda/launch.h"

namespace vretnet::cuda {

constexpr unsigned kElementwiseThreads = 256;

template <class Function>
__global__ void __launch_bounds__(kElementwiseThreads)
    elementwise(const __grid_constant__ Rows<Function::kReads + Function::kWrites> rows,
                const __grid_constant__ Function function, bool accumulate) {
  const unsigned of_thread = rows.vector ? 4 : 1, threads = rows.width / of_thread;  // of a row
  const unsigned index = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned row = index / threads, column = index % threads * of_thread;
  if (row >= rows.rows) return;
  Quad in[Function::kReads + 1], out[Function::kWrites] = {};
  for (int n = 0; n < Function::kReads; ++n) {
    const int tensor = Function::kWrites + n;
    in[n] = read_elements(rows, tensor, rows.at(tensor, row), column, rows.vector);
  }
  for (int i = 0; i < 4; ++i) {
    if (i > 0 && !rows.vector) break;
    float reads[Function::kReads + 1], writes[Function::kWrites];
    for (int n = 0; n < Function::kReads; ++n) reads[n] = in[n].value[i];
    function(reads, writes);
    for (int n = 0; n < Function::kWrites; ++n) out[n].value[i] = writes[n];
  }
  for (int n = 0; n < Function::kWrites; ++n) {
    float* target = rows.at(n, row);
    if (accumulate) {
      const Quad old = read_elements(rows, n, target, column, rows.vector);
      for (int i = 0; i < 4; ++i) out[n].value[i] += old.value[i];
    }
    write_elements(rows, n, target, column, out[n], rows.vector);
  }
}

// Tensors: the kWrites outputs, then the kReads inputs, of equal shapes (or stride 0).
template <class Function>
void run_elementwise(const std::array<Strided, Function::kReads + Function::kWrites>& tensors,
                     const Function& function, cudaStream_t stream, bool accumulate = false) {
  const auto rows = merged_rows<Function::kReads + Function::kWrites>(tensors);
  const std::uint64_t threads = std::uint64_t{rows.rows} * rows.width / (rows.vector ? 4 : 1);
  const auto blocks = static_cast<unsigned>((threads + kElementwiseThreads - 1) / kElementwiseThreads);
  launch(elementwise<Function>, {.grid = {blocks}, .block = {kElementwiseThreads}, .stream = stream}, rows,
         function, accumulate);
}

}  // namespace vretnet::cuda
