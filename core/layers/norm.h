// LayerNorm over the innermost axis, with gain and bias. Not a Layer: its callers decide what is kept,
// because its output is cheap to make again and costly to keep.
#pragma once

#include <string>

#include "core/layers/pass.h"

namespace vretnet::layers {

class Norm {
 public:
  // What the gradient needs: the input and the statistics of its rows [rows].
  struct Kept {
    Tensor x, mean, inverse_deviation;
  };

  // Adds `name`.weight [width] (ones) and `name`.bias [width] (zeros).
  Norm(ParameterTable& table, const std::string& name, std::int64_t width, double epsilon);

  // x [.., width], row by row → the same shape. `kept` holds x and, in training, the statistics.
  Tensor forward(Pass& pass, const Tensor& x, Kept& kept) const;
  // The output of forward once more.
  Tensor again(Pass& pass, const Kept& kept) const;
  // d_y → d_x + residual (an empty residual is 0); the result takes d_y's memory.
  Tensor backward(Pass& pass, const Kept& kept, Tensor d_y, const View& residual) const;

  static void save(Pass& pass, Kept kept);
  static Kept take(Pass& pass);

 private:
  ParameterId gain_, bias_;
  float epsilon_;
};

}  // namespace vretnet::layers
