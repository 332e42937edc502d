#include "core/layers/residual.h"

namespace vretnet::layers {

View PreNormResidual::image_scale(const Pass& pass, const View& x) const {
  return droppable_ ? pass.branch_scale(*droppable_, x.extent(0)) : View();
}

Tensor PreNormResidual::forward(Pass& pass, Tensor x) const {
  const View rho = image_scale(pass, x);
  Norm::Kept kept;
  Tensor normed = norm_.forward(pass, x, kept);
  Tensor y = branch_->forward(pass, std::move(normed), scale_ || rho ? Tensor() : x);
  if (scale_) {
    Tensor branch = std::move(y);
    y = scale_->forward(pass, branch, rho ? View() : x.view());
    pass.save(std::move(branch));
  }
  if (rho) pass.run(ops::ScaleSamples{.x = y, .scale = rho, .residual = x, .y = y});
  Norm::save(pass, std::move(kept));
  return y;
}

Tensor PreNormResidual::backward(Pass& pass, Tensor d_y) const {
  const View rho = image_scale(pass, d_y);
  const Norm::Kept kept = Norm::take(pass);
  Tensor d_output = d_y;  // of the branch
  if (rho) {
    d_output = pass.make(d_y.view().shape());
    pass.run(ops::ScaleSamples{.x = d_y, .scale = rho, .y = d_output});
  }
  if (scale_) d_output = scale_->backward(pass, pass.take(), d_output);
  Tensor d_branch = branch_->backward(pass, std::move(d_output), norm_.again(pass, kept));
  return norm_.backward(pass, kept, std::move(d_branch), d_y);
}

}  // namespace vretnet::layers
