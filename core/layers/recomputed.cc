#include "core/layers/recomputed.h"

namespace vretnet::layers {

Tensor Recomputed::forward(Pass& pass, Tensor x) const {
  if (!pass.options().checkpoint_activations || !pass.keeps()) return layer_->forward(pass, std::move(x));
  Tensor y;
  {
    const Pass::KeepsNothing until_here(pass);
    y = layer_->forward(pass, x);
  }
  pass.save(std::move(x));
  return y;
}

Tensor Recomputed::backward(Pass& pass, Tensor d_y) const {
  if (pass.options().checkpoint_activations) layer_->forward(pass, pass.take());
  return layer_->backward(pass, std::move(d_y));
}

}  // namespace vretnet::layers
