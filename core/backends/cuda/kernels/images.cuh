// How the kernels of depthwise convolutions see memory: [batch, height, width, channels] views whose channels
// lie side by side.
#pragma once

#include <gpu.h>

#include <cstdint>

#include "core/tensor/view.h"

namespace vretnet::cuda {

template <class S>
struct Images {  // null data: not given
  S* data;
  std::int64_t batch_stride, row_stride, column_stride;
  int height, width;

  __device__ S* at(unsigned b, int row, int column, unsigned channel) const {
    return data + b * batch_stride + row * row_stride + column * column_stride + channel;
  }
  __device__ bool has(int row, int column) const {
    return row >= 0 && row < height && column >= 0 && column < width;
  }
};

template <class S>
Images<S> images_of(const View& view) {
  if (!view) return {};
  return {view.data<S>(),
          view.stride(0),
          view.stride(1),
          view.stride(2),
          static_cast<int>(view.extent(1)),
          static_cast<int>(view.extent(2))};
}

}  // namespace vretnet::cuda
