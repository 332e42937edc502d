// How kernels over sequences see memory: [batch, tokens, heads, width] views whose width lies side by side.
#pragma once

#include <gpu.h>

#include <cstdint>

#include "core/tensor/view.h"

namespace vretnet::cuda {

template <class S>
struct Tokens {
  S* data;
  std::int64_t batch_stride, token_stride, head_stride;

  Tokens() = default;
  explicit Tokens(const View& view)
      : data(view.data<S>()),
        batch_stride(view.stride(0)),
        token_stride(view.stride(1)),
        head_stride(view.stride(2)) {}
  __device__ S* at(unsigned batch, std::int64_t token, unsigned head) const {
    return data + batch * batch_stride + token * token_stride + head * head_stride;
  }
};

}  // namespace vretnet::cuda
