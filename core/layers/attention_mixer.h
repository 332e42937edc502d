// Multi-head softmax attention, the ViT baseline's mixer: softmax(Q Kᵀ / √d) V W_O.
#pragma once

#include <string>

#include "core/layers/layer.h"
#include "core/layers/linear.h"

namespace vretnet::layers {

class AttentionMixer : public Branch {
 public:
  // Adds `name`.qkv [3·width, width] and `name`.proj [width, width], with biases: timm's layout.
  AttentionMixer(ParameterTable& table, const std::string& name, std::int64_t width, std::int64_t heads,
                 LinearStart start);

  // x [batch, tokens, width].
  Tensor forward(Pass& pass, Tensor x, Tensor residual) const override;
  Tensor backward(Pass& pass, Tensor d_y, Tensor x) const override;

 private:
  View part(const View& qkv, int index) const;  // [batch, tokens, heads, d]
  View by_heads(const View& x) const { return x.split(2, heads_); }

  std::int64_t width_, heads_;
  Linear qkv_, out_;
  float scale_;
};

}  // namespace vretnet::layers
