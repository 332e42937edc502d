// Convolution and its gradients by cuDNN: channels last, full f32 (no TF32), deterministic algorithms. bf16
// images are copied to f32 and back: only the stems have convolutions, and d_weight is f32.
#pragma once

#include <cudnn.h>

#include <cstddef>

#include "core/backends/cuda/device.h"
#include "core/ops/ops.h"

namespace vretnet::cuda {

class ConvolutionEngine {
 public:
  explicit ConvolutionEngine(const Stream& stream);  // everything runs there
  ~ConvolutionEngine();
  ConvolutionEngine(const ConvolutionEngine&) = delete;
  ConvolutionEngine& operator=(const ConvolutionEngine&) = delete;

  void run(const ops::Convolution& op, const Stream& stream);
  void run(const ops::ConvolutionInputGradient& op, const Stream& stream);
  void run(const ops::ConvolutionWeightGradient& op, const Stream& stream);
  std::size_t workspace_bytes(const ops::Convolution& op) const;
  std::size_t workspace_bytes(const ops::ConvolutionInputGradient& op) const;
  std::size_t workspace_bytes(const ops::ConvolutionWeightGradient& op) const;

 private:
  cudnnHandle_t handle_ = nullptr;
};

}  // namespace vretnet::cuda
