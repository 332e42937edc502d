// y = λ ⊙ x + residual with one learned λ a channel, which starts small (Touvron et al. 2021; timm's
// LayerScale).
#pragma once

#include <string>

#include "core/layers/pass.h"

namespace vretnet::layers {

class LayerScale {
 public:
  // Adds `name`.gamma [width], `initial` everywhere.
  LayerScale(ParameterTable& table, const std::string& name, std::int64_t width, double initial);

  // x and residual (optional) [batch, tokens, width] → y.
  Tensor forward(Pass& pass, const View& x, const View& residual) const;
  // d_y → d_x; the residual's gradient is d_y.
  Tensor backward(Pass& pass, const View& x, const View& d_y) const;

 private:
  ParameterId scale_;
};

}  // namespace vretnet::layers
