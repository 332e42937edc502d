#include "core/layers/norm.h"

#include <utility>

#include "core/layers/linear.h"

namespace vretnet::layers {

Norm::Norm(ParameterTable& table, const std::string& name, std::int64_t width, double epsilon)
    : gain_(table.add({name + ".weight", {width}, {Initial::constant, 1}, /*decays=*/false})),
      bias_(table.add({name + ".bias", {width}, {Initial::zeros}, /*decays=*/false})),
      epsilon_(static_cast<float>(epsilon)) {}

Tensor Norm::forward(Pass& pass, const Tensor& x, Kept& kept) const {
  kept.x = x;
  if (pass.keeps()) {
    const std::int64_t rows = rows_of(x).extent(0);
    kept.mean = pass.make_wide({rows});
    kept.inverse_deviation = pass.make_wide({rows});
  }
  return again(pass, kept);
}

Tensor Norm::again(Pass& pass, const Kept& kept) const {
  Tensor y = pass.make(kept.x.view().shape());
  pass.run(ops::LayerNorm{.x = rows_of(kept.x),
                          .gain = pass.weight(gain_),
                          .bias = pass.weight(bias_),
                          .y = rows_of(y),
                          .mean = kept.mean,
                          .inverse_deviation = kept.inverse_deviation,
                          .epsilon = epsilon_});
  return y;
}

Tensor Norm::backward(Pass& pass, const Kept& kept, Tensor d_y, const View& residual) const {
  const View d_rows = rows_of(d_y);
  pass.run(ops::LayerNormGradient{.x = rows_of(kept.x),
                                  .gain = pass.weight(gain_),
                                  .mean = kept.mean,
                                  .inverse_deviation = kept.inverse_deviation,
                                  .d_y = d_rows,
                                  .residual = residual ? rows_of(residual) : View(),
                                  .d_x = d_rows,
                                  .d_gain = pass.gradient(gain_),
                                  .d_bias = pass.gradient(bias_)});
  return d_y;
}

void Norm::save(Pass& pass, Kept kept) {
  pass.save(std::move(kept.x));
  pass.save(std::move(kept.mean));
  pass.save(std::move(kept.inverse_deviation));
}

Norm::Kept Norm::take(Pass& pass) {
  Kept kept;
  kept.inverse_deviation = pass.take();
  kept.mean = pass.take();
  kept.x = pass.take();
  return kept;
}

}  // namespace vretnet::layers
