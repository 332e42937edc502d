// From tokens to one vector an image, by a final norm and a pooling in whichever order is cheaper.
#pragma once

#include <string>

#include "core/layers/norm.h"

namespace vretnet::layers {

enum class Pool : std::uint8_t {
  mean,      // of all tokens
  last,      // the last token of the raster: all that came before it, in a causal model
  token,     // the first one, where a class token stands
  sequence,  // of all tokens, weighed by softmax over the tokens of LN(x)·w (Hassani et al. 2021); w is
             // learned
};

// pooled = pool(LN(x)).
class NormAndPool {
 public:
  // Adds `name`.weight [1, width] for Pool::sequence: a bias would change nothing, as softmax does not see
  // it.
  NormAndPool(ParameterTable& table, const std::string& name, Norm norm, Pool pool, std::int64_t width);

  // x [batch, tokens, width] → [batch, width]. A stream's mean runs over all tokens seen so far, and its last
  // token is the newest.
  Tensor forward(Pass& pass, Tensor x) const;
  // The gradient of the pooled vector [batch, width] → d_x [batch, tokens, width].
  Tensor backward(Pass& pass, Tensor d_pooled, std::int64_t tokens) const;

 private:
  Tensor forward_mean(Pass& pass, Tensor x) const;
  Tensor forward_sequence(Pass& pass, Tensor x) const;
  Tensor backward_sequence(Pass& pass, const Norm::Kept& kept, const View& weights,
                           const View& d_pooled) const;

  Norm norm_;
  Pool pool_;
  ParameterId weight_ = -1;  // of Pool::sequence
};

}  // namespace vretnet::layers
