// Y = X + f(LN(X)): the residual half of every block.
#pragma once

#include <memory>
#include <utility>

#include "core/layers/layer.h"
#include "core/layers/norm.h"

namespace vretnet::layers {

class PreNormResidual : public Layer {
 public:
  PreNormResidual(Norm norm, std::unique_ptr<Branch> branch) : norm_(norm), branch_(std::move(branch)) {}

  // x [batch, tokens, width] → the same shape.
  Tensor forward(Pass& pass, Tensor x) const override;
  Tensor backward(Pass& pass, Tensor d_y) const override;

 private:
  Norm norm_;
  std::unique_ptr<Branch> branch_;
};

}  // namespace vretnet::layers
