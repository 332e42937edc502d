#include "core/layers/residual.h"

namespace vretnet::layers {

Tensor PreNormResidual::forward(Pass& pass, Tensor x) const {
  Norm::Kept kept;
  Tensor normed = norm_.forward(pass, x, kept);
  Tensor y = branch_->forward(pass, std::move(normed), scale_ ? Tensor() : x);
  if (scale_) {
    Tensor branch = std::move(y);
    y = scale_->forward(pass, branch, x);
    pass.save(std::move(branch));
  }
  Norm::save(pass, std::move(kept));
  return y;
}

Tensor PreNormResidual::backward(Pass& pass, Tensor d_y) const {
  const Norm::Kept kept = Norm::take(pass);
  const Tensor d_scaled = scale_ ? scale_->backward(pass, pass.take(), d_y) : d_y;
  Tensor d_branch = branch_->backward(pass, d_scaled, norm_.again(pass, kept));
  return norm_.backward(pass, kept, std::move(d_branch), d_y);
}

}  // namespace vretnet::layers
