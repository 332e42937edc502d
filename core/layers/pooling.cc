#include "core/layers/pooling.h"

#include <utility>

namespace vretnet::layers {
namespace {

Shape pooled_shape(const View& x) {
  return {x.extent(0), x.extent(2)};
}

// PoolTokens takes the last token of its view; the first one is the last of a view read backwards.
View ending_in(const View& x, Pool pool) {
  return pool == Pool::token ? x.reversed(1) : x;
}

}  // namespace

Tensor NormAndPool::forward_mean(Pass& pass, Tensor x) const {
  const Shape shape = pooled_shape(x);
  const std::int64_t tokens = x.view().extent(1);
  Norm::Kept kept;
  const Tensor normed = norm_.forward(pass, x, kept);
  x = {};
  Tensor pooled;
  if (pass.place().streaming) {
    // The sum of all tokens so far, then its mean. The mean's factor changes with every call, so it is a
    // field of an op that backends do not compile (a GEMM's alpha is part of a oneDNN primitive).
    const View sum = pass.carried_wide(this, 0, shape);
    pass.run(ops::PoolTokens{.x = normed, .y = sum, .write = ops::Write::accumulate});
    const auto seen = static_cast<float>(pass.place().first_token + tokens);
    const Tensor mean = pass.make_wide(shape);
    pass.run(ops::PoolTokens{.x = sum.split(0, shape[0]), .y = mean, .scale = 1 / seen});
    pooled = pass.as_activations(mean);
  } else {
    pooled = pass.make(shape);
    pass.run(ops::PoolTokens{.x = normed, .y = pooled, .scale = 1 / static_cast<float>(tokens)});
  }
  Norm::save(pass, std::move(kept));
  return pooled;
}

Tensor NormAndPool::forward(Pass& pass, Tensor x) const {
  if (pool_ == Pool::mean) return forward_mean(pass, std::move(x));
  // One token: pooled first, so that one row is normed.
  Tensor token = pass.make(pooled_shape(x));
  pass.run(ops::PoolTokens{.x = ending_in(x, pool_), .y = token, .kind = ops::PoolKind::last});
  x = {};
  Norm::Kept kept;
  Tensor normed = norm_.forward(pass, token, kept);
  Norm::save(pass, std::move(kept));
  return normed;
}

Tensor NormAndPool::backward(Pass& pass, Tensor d_pooled, std::int64_t tokens) const {
  const Norm::Kept kept = Norm::take(pass);
  const View& rows = d_pooled;
  Tensor d_x = pass.make({rows.extent(0), tokens, rows.extent(1)});
  if (pool_ == Pool::mean) {
    pass.run(ops::PoolTokensGradient{.d_y = d_pooled, .d_x = d_x, .scale = 1 / static_cast<float>(tokens)});
    return norm_.backward(pass, kept, std::move(d_x), View());
  }
  const Tensor d_token = norm_.backward(pass, kept, std::move(d_pooled), View());
  pass.run(
      ops::PoolTokensGradient{.d_y = d_token, .d_x = ending_in(d_x, pool_), .kind = ops::PoolKind::last});
  return d_x;
}

}  // namespace vretnet::layers
