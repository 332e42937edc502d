// Y = X + ρ ⊙ (λ ⊙ f(LN(X))): the residual half of every block; λ is 1 without a layer scale, ρ is 1 but for
// stochastic depth in training.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "core/layers/layer.h"
#include "core/layers/layer_scale.h"
#include "core/layers/norm.h"

namespace vretnet::layers {

class PreNormResidual : public Layer {
 public:
  // `droppable`: the branch's place among those that stochastic depth may leave out (Pass::branch_scale);
  // without one it is always there.
  PreNormResidual(Norm norm, std::unique_ptr<Branch> branch, std::optional<LayerScale> scale = {},
                  std::optional<std::int64_t> droppable = {})
      : norm_(norm), branch_(std::move(branch)), scale_(scale), droppable_(droppable) {}

  // x [batch, tokens, width] → the same shape.
  Tensor forward(Pass& pass, Tensor x) const override;
  Tensor backward(Pass& pass, Tensor d_y) const override;

 private:
  View image_scale(const Pass& pass, const View& x) const;  // ρ [batch], or empty

  Norm norm_;
  std::unique_ptr<Branch> branch_;
  std::optional<LayerScale> scale_;
  std::optional<std::int64_t> droppable_;
};

}  // namespace vretnet::layers
