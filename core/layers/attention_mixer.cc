#include "core/layers/attention_mixer.h"

#include <cmath>
#include <utility>

namespace vretnet::layers {

AttentionMixer::AttentionMixer(ParameterTable& table, const std::string& name, std::int64_t width,
                               std::int64_t heads, LinearStart start)
    : width_(width),
      heads_(heads),
      qkv_(table, name + ".qkv", width, 3 * width, start),
      out_(table, name + ".proj", width, width, start),
      scale_(static_cast<float>(1 / std::sqrt(static_cast<double>(width) / static_cast<double>(heads)))) {}

View AttentionMixer::part(const View& qkv, int index) const {
  return by_heads(qkv.slice(2, index * width_, width_));
}

Tensor AttentionMixer::forward(Pass& pass, Tensor x, Tensor residual) const {
  const std::int64_t batch = x.view().extent(0), tokens = x.view().extent(1);
  Tensor qkv = pass.make({batch, tokens, 3 * width_});
  qkv_.forward(pass, x, qkv);
  x = {};
  Tensor mixed = pass.make({batch, tokens, width_});
  Tensor log_sum_exp = pass.keeps() ? pass.make_wide({batch, heads_, tokens}) : Tensor();
  pass.run(ops::Attention{.q = part(qkv, 0),
                          .k = part(qkv, 1),
                          .v = part(qkv, 2),
                          .o = by_heads(mixed),
                          .log_sum_exp = log_sum_exp,
                          .scale = scale_});
  pass.save(std::move(qkv));
  Tensor y = pass.make({batch, tokens, width_});
  out_.forward(pass, mixed, y, {.residual = residual});
  pass.save(std::move(mixed));
  pass.save(std::move(log_sum_exp));
  return y;
}

Tensor AttentionMixer::backward(Pass& pass, Tensor d_y, Tensor x) const {
  Tensor log_sum_exp = pass.take(), mixed = pass.take(), qkv = pass.take();
  Tensor d_mixed = pass.make(mixed.view().shape());
  out_.weight_gradient(pass, mixed, d_y);
  out_.input_gradient(pass, d_y, d_mixed);
  Tensor d_qkv = pass.make(qkv.view().shape());
  pass.run(ops::AttentionGradient{.q = part(qkv, 0),
                                  .k = part(qkv, 1),
                                  .v = part(qkv, 2),
                                  .o = by_heads(mixed),
                                  .log_sum_exp = log_sum_exp,
                                  .d_o = by_heads(d_mixed),
                                  .d_q = part(d_qkv, 0),
                                  .d_k = part(d_qkv, 1),
                                  .d_v = part(d_qkv, 2),
                                  .scale = scale_});
  log_sum_exp = mixed = qkv = d_mixed = {};
  qkv_.weight_gradient(pass, x, d_qkv);
  Tensor d_x = std::move(x);
  qkv_.input_gradient(pass, d_qkv, d_x);
  return d_x;
}

}  // namespace vretnet::layers
