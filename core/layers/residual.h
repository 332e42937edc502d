// Y = X + λ ⊙ f(LN(X)): the residual half of every block; λ is 1 without a layer scale.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "core/layers/layer.h"
#include "core/layers/layer_scale.h"
#include "core/layers/norm.h"

namespace vretnet::layers {

class PreNormResidual : public Layer {
 public:
  PreNormResidual(Norm norm, std::unique_ptr<Branch> branch, std::optional<LayerScale> scale = {})
      : norm_(norm), branch_(std::move(branch)), scale_(scale) {}

  // x [batch, tokens, width] → the same shape.
  Tensor forward(Pass& pass, Tensor x) const override;
  Tensor backward(Pass& pass, Tensor d_y) const override;

 private:
  Norm norm_;
  std::unique_ptr<Branch> branch_;
  std::optional<LayerScale> scale_;
};

}  // namespace vretnet::layers
