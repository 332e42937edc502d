// From tokens to one vector an image, by a final norm and a pooling in whichever order is cheaper.
#pragma once

#include <string>

#include "core/layers/norm.h"

namespace vretnet::layers {

enum class Pool : std::uint8_t {
  mean,   // of all tokens
  last,   // the last token of the raster: all that came before it, in a causal model
  token,  // the first one, where a class token stands
};

// pooled = pool(LN(x)).
class NormAndPool {
 public:
  NormAndPool(Norm norm, Pool pool) : norm_(norm), pool_(pool) {}

  // x [batch, tokens, width] → [batch, width]. A stream's mean runs over all tokens seen so far, and its last
  // token is the newest.
  Tensor forward(Pass& pass, Tensor x) const;
  // The gradient of the pooled vector [batch, width] → d_x [batch, tokens, width].
  Tensor backward(Pass& pass, Tensor d_pooled, std::int64_t tokens) const;

 private:
  Tensor forward_mean(Pass& pass, Tensor x) const;

  Norm norm_;
  Pool pool_;
};

}  // namespace vretnet::layers
