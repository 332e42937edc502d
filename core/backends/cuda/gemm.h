// Gemm by cuBLASLt, in full f32 (no TF32) or in bf16 with sums in f32: bias and residual in its epilogue,
// activations by our own kernel (its GELU is the tanh form).
#pragma once

#include <cublasLt.h>

#include <cstddef>

#include "core/backends/cuda/device.h"
#include "core/ops/ops.h"

namespace vretnet::cuda {

class GemmEngine {
 public:
  GemmEngine();
  ~GemmEngine();
  GemmEngine(const GemmEngine&) = delete;
  GemmEngine& operator=(const GemmEngine&) = delete;

  void run(const ops::Gemm& op, const Stream& stream);
  std::size_t workspace_bytes(const ops::Gemm& op) const;

 private:
  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;  // the library's, one product after the other
};

}  // namespace vretnet::cuda
