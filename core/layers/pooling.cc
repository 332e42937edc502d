#include "core/layers/pooling.h"

#include <utility>

#include "core/layers/linear.h"

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

NormAndPool::NormAndPool(ParameterTable& table, const std::string& name, Norm norm, Pool pool,
                         std::int64_t width)
    : norm_(norm), pool_(pool) {
  if (pool == Pool::sequence)
    weight_ = table.add({name + ".weight", {1, width}, initial_weight(LinearStart::truncated, width)});
}

// Scores, their softmax, and the mean by it, each image a product of one row: p [batch, tokens] is all that
// is kept beside the norm's input.
Tensor NormAndPool::forward_sequence(Pass& pass, Tensor x) const {
  const std::int64_t batch = x.view().extent(0), tokens = x.view().extent(1), width = x.view().extent(2);
  Norm::Kept kept;
  const Tensor normed = norm_.forward(pass, x, kept);
  x = {};
  Tensor weights = pass.make({batch, tokens});
  pass.run(ops::Gemm{.a = rows_of(normed),
                     .b = pass.weight(weight_).transposed(),
                     .y = weights.view().reshaped({batch * tokens, 1})});
  pass.run(ops::Softmax{.x = weights, .y = weights});
  Tensor pooled = pass.make({batch, width});
  pass.run(ops::Gemm{.a = weights.view().split(0, batch), .b = normed, .y = pooled.view().split(0, batch)});
  Norm::save(pass, std::move(kept));
  pass.save(std::move(weights));
  return pooled;
}

Tensor NormAndPool::backward_sequence(Pass& pass, const Norm::Kept& kept, const View& weights,
                                      const View& d_pooled) const {
  const Tensor normed = norm_.again(pass, kept);
  const View& x = normed;
  const std::int64_t batch = x.extent(0), tokens = x.extent(1), width = x.extent(2);
  const View d = d_pooled.split(0, batch);  // [batch, 1, width]
  const Tensor d_weights = pass.make({batch, tokens});
  pass.run(ops::Gemm{.a = d, .b = x.transposed(), .y = d_weights.view().split(0, batch)});
  pass.run(ops::SoftmaxGradient{.y = weights, .d_y = d_weights, .d_x = d_weights});
  const View d_scores = d_weights.view().reshaped({batch * tokens, 1});
  Tensor d_x = pass.make({batch, tokens, width});
  pass.run(ops::Gemm{.a = weights.split(0, batch).transposed(), .b = d, .y = d_x});
  pass.run(ops::Gemm{
      .a = d_scores, .b = pass.weight(weight_), .y = rows_of(d_x), .write = ops::Write::accumulate});
  pass.run(ops::Gemm{.a = d_scores.transposed(),
                     .b = rows_of(x),
                     .y = pass.gradient(weight_),
                     .write = ops::Write::accumulate});
  return d_x;
}

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
  if (pool_ == Pool::sequence) return forward_sequence(pass, std::move(x));
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
  Tensor weights = pool_ == Pool::sequence ? pass.take() : Tensor();
  const Norm::Kept kept = Norm::take(pass);
  if (pool_ == Pool::sequence) {
    Tensor d_x = backward_sequence(pass, kept, weights, d_pooled);
    weights = d_pooled = {};
    return norm_.backward(pass, kept, std::move(d_x), View());
  }
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
