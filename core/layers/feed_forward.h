// FFN(x) = GELU(x W₁ + b₁) W₂ + b₂.
#pragma once

#include <string>

#include "core/layers/layer.h"
#include "core/layers/linear.h"

namespace vretnet::layers {

class FeedForward : public Branch {
 public:
  // Adds `name`.fc1 and `name`.fc2.
  FeedForward(ParameterTable& table, const std::string& name, std::int64_t width, std::int64_t hidden,
              LinearStart start);

  Tensor forward(Pass& pass, Tensor x, Tensor residual) const override;
  Tensor backward(Pass& pass, Tensor d_y, Tensor x) const override;

 private:
  std::int64_t hidden_;
  Linear first_, second_;
};

}  // namespace vretnet::layers
