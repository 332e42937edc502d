// A 3×3 convolution of each channel on its own, over tokens in image order. Zeros stand around the image; a
// row-causal one reads rows y − 2 … y, so that a row's result needs nothing below it and images can be
// streamed.
#pragma once

#include <string>

#include "core/layers/layer.h"

namespace vretnet::layers {

// The convolution by itself, as a part of other layers: x, y [batch, tokens, channels] of the grid
// pass.place().
class DepthwiseConvolution {
 public:
  // Adds `name`.weight [channels, 1, 3, 3] and `name`.bias [channels].
  DepthwiseConvolution(ParameterTable& table, const std::string& name, std::int64_t channels,
                       bool row_causal);

  // y = convolution(x) + residual (optional). A stream gives whole patch rows and carries the two rows above
  // them.
  void forward(Pass& pass, const View& x, const View& residual, const View& y) const;
  // d_x (+)= gradient + residual (optional); the parameters' gradients accumulate.
  void backward(Pass& pass, const View& x, const View& d_y, const View& residual, const View& d_x,
                ops::Write write) const;

 private:
  void forward_streamed(Pass& pass, const View& x, const View& residual, const View& y) const;

  ParameterId weight_, bias_;
  ops::Padding padding_;
};

// Conditional position encoding: Y = X + DWConv(X).
class ConvolutionalPosition : public Layer {
 public:
  ConvolutionalPosition(ParameterTable& table, const std::string& name, std::int64_t width, bool row_causal)
      : convolution_(table, name, width, row_causal) {}

  Tensor forward(Pass& pass, Tensor x) const override;
  Tensor backward(Pass& pass, Tensor d_y) const override;

 private:
  DepthwiseConvolution convolution_;
};

// For convolutions that stream: x [batch, rows, columns, channels] below the last rows of earlier calls,
// which `owner` carries under `slot` (zeros before the first): [batch, rows above + rows, columns, channels].
Tensor below_carried_rows(Pass& pass, const void* owner, int slot, const View& x, std::int64_t rows_above);

}  // namespace vretnet::layers
