// One kernel for everything that makes output elements from input elements at the same place.
//   Memory: every element of the kReads inputs is read once, every output element written once (and read once
//   where it accumulates), four at a time where rows allow; outputs may be inputs. Launch: one thread for
//   four elements of a row, blocks of 256; no shared memory.
// A function is a struct with kReads, kWrites, perhaps kWide, and
//   __device__ void operator()(const float* in, float* out) const;
// Its tensors are the outputs, then the inputs. They are stored in S; tensor n in f32 where kWide has bit n.
#pragma once

#include "core/backends/cuda/kernels/rows.cuh"
#include "core/backends/cuda/launch.h"

namespace vretnet::cuda {

constexpr unsigned kElementwiseThreads = 256;
constexpr unsigned kAllWide = ~0u;

template <class Function>
__host__ __device__ constexpr bool is_wide(int tensor) {
  if constexpr (requires { Function::kWide; }) return (Function::kWide >> tensor & 1) != 0;
  return false;
}

template <class Function, class S>
__global__ void __launch_bounds__(kElementwiseThreads)
    elementwise(const __grid_constant__ Rows<Function::kReads + Function::kWrites> rows,
                const __grid_constant__ Function function, bool accumulate) {
  const unsigned of_thread = rows.vector ? 4 : 1, threads = rows.width / of_thread;  // of a row
  const unsigned index = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned row = index / threads, column = index % threads * of_thread;
  if (row >= rows.rows) return;
  Quad in[Function::kReads + 1], out[Function::kWrites] = {};
  const auto read = [&](int tensor) {
    return is_wide<Function>(tensor)
               ? read_elements(rows, tensor, rows.template at<float>(tensor, row), column, rows.vector)
               : read_elements(rows, tensor, rows.template at<S>(tensor, row), column, rows.vector);
  };
#pragma unroll
  for (int n = 0; n < Function::kReads; ++n) in[n] = read(Function::kWrites + n);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (i > 0 && !rows.vector) break;
    float reads[Function::kReads + 1], writes[Function::kWrites];
#pragma unroll
    for (int n = 0; n < Function::kReads; ++n) reads[n] = in[n].value[i];
    function(reads, writes);
#pragma unroll
    for (int n = 0; n < Function::kWrites; ++n) out[n].value[i] = writes[n];
  }
#pragma unroll
  for (int n = 0; n < Function::kWrites; ++n) {
    if (accumulate) {
      const Quad old = read(n);
#pragma unroll
      for (int i = 0; i < 4; ++i) out[n].value[i] += old.value[i];
    }
    if (is_wide<Function>(n)) {
      write_elements(rows, n, rows.template at<float>(n, row), column, out[n], rows.vector);
    } else {
      write_elements(rows, n, rows.template at<S>(n, row), column, out[n], rows.vector);
    }
  }
}

// Tensors: the kWrites outputs, then the kReads inputs, of equal shapes (or stride 0).
template <class Function, class S>
void launch_elementwise(const std::array<Strided, Function::kReads + Function::kWrites>& tensors,
                        const Function& function, cudaStream_t stream, bool accumulate = false) {
  const auto rows = merged_rows<Function::kReads + Function::kWrites>(tensors);
  const std::uint64_t threads = std::uint64_t{rows.rows} * rows.width / (rows.vector ? 4 : 1);
  const auto blocks = static_cast<unsigned>((threads + kElementwiseThreads - 1) / kElementwiseThreads);
  launch(elementwise<Function, S>, {.grid = {blocks}, .block = {kElementwiseThreads}, .stream = stream}, rows,
         function, accumulate);
}

// S is what those tensors are stored in that are not always f32.
template <class Function>
void run_elementwise(const std::array<Strided, Function::kReads + Function::kWrites>& tensors,
                     const Function& function, cudaStream_t stream, bool accumulate = false) {
  DType dtype = DType::f32;
  for (std::size_t n = 0; n < tensors.size(); ++n) {
    if (!is_wide<Function>(static_cast<int>(n)) && tensors[n].data) dtype = tensors[n].dtype;
  }
  for (std::size_t n = 0; n < tensors.size(); ++n) {
    const DType expected = is_wide<Function>(static_cast<int>(n)) ? DType::f32 : dtype;
    expect(!tensors[n].data || tensors[n].dtype == expected, "tensors of one kernel are stored alike");
  }
  if constexpr (is_wide<Function>(0) && is_wide<Function>(Function::kWrites + Function::kReads - 1)) {
    launch_elementwise<Function, float>(tensors, function, stream, accumulate);
  } else {
    with_storage(dtype,
                 [&]<class S>(S) { launch_elementwise<Function, S>(tensors, function, stream, accumulate); });
  }
}

}  // namespace vretnet::cuda
