#include "core/layers/retention_mixer.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/base/check.h"

namespace vretnet::layers {
namespace {

constexpr std::int64_t kLongestRasterChunk =
    64;  // a longer one costs more in its mask than it saves in states
const double kProjectionGain = std::exp2(-2.5);  // of Q, K, V, G; torchscale's

// Q, K, V, G as one parameter, so that one GEMM makes them all.
ParameterId add_projections(ParameterTable& table, const std::string& name,
                            const RetentionSettings& settings) {
  std::vector<NamedTensor> tensors;
  const auto add = [&](const char* part, std::int64_t rows) {
    tensors.push_back({name + "." + part + "_proj.weight",
                       {rows, settings.width},
                       xavier_uniform(settings.width, rows, kProjectionGain)});
  };
  add("q", settings.width);
  add("k", settings.width);
  add("v", settings.value_width);
  if (settings.gate) add("g", settings.value_width);
  return table.add_stacked(std::move(tensors));
}

ParameterId add_out_projection(ParameterTable& table, const std::string& name,
                               const RetentionSettings& settings) {
  return table.add({name + ".out_proj.weight",
                    {settings.width, settings.value_width},
                    xavier_uniform(settings.value_width, settings.width, 1)});
}

std::optional<DepthwiseConvolution> make_lepe(ParameterTable& table, const std::string& name,
                                              const RetentionSettings& settings) {
  if (!settings.lepe) return {};
  return DepthwiseConvolution(table, name + ".lepe", settings.value_width, settings.row_causal_lepe);
}

}  // namespace

ops::RetentionPattern choose_pattern(const Pass& pass, const RetentionSettings& settings,
                                     std::int64_t tokens) {
  using ops::RetentionForm;
  const std::int64_t row_width = pass.place().width;
  std::int64_t chunk = pass.options().chunk_rows * row_width;
  if (settings.decay == ops::DecayKind::raster) chunk = std::min(chunk, kLongestRasterChunk);
  ops::RetentionPattern pattern{
      .decay = settings.decay, .bidirectional = settings.bidirectional, .row_width = row_width};
  switch (pass.options().form) {
    case FormChoice::parallel:
      pattern.form = RetentionForm::parallel;
      break;
    case FormChoice::chunkwise:
      pattern.form = RetentionForm::chunkwise;
      break;
    case FormChoice::recurrent:
      pattern.form = RetentionForm::recurrent;
      break;
    case FormChoice::automatic: {
      if (pass.place().streaming && tokens == 1) {
        pattern.form = RetentionForm::recurrent;
        break;
      }
      // FLOPs a token and head, over 2: parallel N (d_k + d_v); chunkwise B (d_k + d_v) + 2 d_k d_v for each
      // direction. A stream's parallel form reads and writes a state too.
      const std::int64_t keys = settings.width / settings.heads,
                         values = settings.value_width / settings.heads;
      const std::int64_t states = 2 * keys * values;
      const std::int64_t parallel = tokens * (keys + values) + (pass.place().streaming ? states : 0);
      const std::int64_t chunkwise = chunk * (keys + values) + (settings.bidirectional ? 2 : 1) * states;
      pattern.form = chunkwise < parallel ? RetentionForm::chunkwise : RetentionForm::parallel;
      break;
    }
  }
  if (pattern.form == RetentionForm::chunkwise) pattern.chunk = std::min(chunk, tokens);
  return pattern;
}

RetentionMixer::RetentionMixer(ParameterTable& table, const std::string& name,
                               const RetentionSettings& settings)
    : settings_(settings),
      stacked_(add_projections(table, name, settings)),
      lepe_(make_lepe(table, name, settings)),
      out_(add_out_projection(table, name, settings)) {}

RetentionMixer::Parts RetentionMixer::parts(const View& stacked) const {
  const std::int64_t width = settings_.width, values = settings_.value_width;
  return {stacked.slice(2, 0, width), stacked.slice(2, width, width), stacked.slice(2, 2 * width, values),
          settings_.gate ? stacked.slice(2, 2 * width + values, values) : View()};
}

View RetentionMixer::reading(const View& x) const {
  if (!x) return x;
  const View heads = x.split(2, settings_.heads);
  return settings_.backwards ? heads.reversed(1) : heads;
}

template <class BlockOp>
BlockOp RetentionMixer::block_op(Pass& pass, const Parts& parts) const {
  const Place& place = pass.place();
  const std::int64_t tokens = parts.q.extent(1), key_width = settings_.width / settings_.heads;
  const ops::RetentionPattern pattern = choose_pattern(pass, settings_, tokens);
  const TableCache::Rotation rotation = pass.tables().rotation({.position = settings_.position,
                                                                .key_width = key_width,
                                                                .row_width = place.width,
                                                                .first_token = place.first_token,
                                                                .tokens = tokens});
  BlockOp op;
  op.q = reading(parts.q);
  op.k = reading(parts.k);
  op.v = reading(parts.v);
  op.g = reading(parts.g);
  op.cosine = rotation.cosine;
  op.sine = rotation.sine;
  op.tables = pass.tables().decay({.pattern = pattern,
                                   .heads = static_cast<int>(settings_.heads),
                                   .speed = settings_.speed,
                                   .height = place.height,
                                   .first_token = place.first_token,
                                   .tokens = tokens});
  op.pattern = pattern;
  op.key_scale = static_cast<float>(1 / std::sqrt(static_cast<double>(key_width)));
  op.head_norm = settings_.head_norm;
  op.epsilon = static_cast<float>(settings_.head_norm_epsilon);
  return op;
}

Tensor RetentionMixer::forward(Pass& pass, Tensor x, Tensor residual) const {
  const std::int64_t batch = x.view().extent(0), tokens = x.view().extent(1), heads = settings_.heads;
  const std::int64_t stacked_width = 2 * settings_.width + (settings_.gate ? 2 : 1) * settings_.value_width;
  Tensor stacked = pass.make({batch, tokens, stacked_width});
  stacked_.forward(pass, x, stacked);
  x = {};

  const Parts in = parts(stacked);
  Tensor mixed = pass.make({batch, tokens, settings_.value_width});
  auto block = block_op<ops::RetentionBlock>(pass, in);
  block.y = reading(mixed);
  if (lepe_) {
    lepe_->forward(pass, in.v, View(), mixed);
    block.write = ops::Write::accumulate;
  }
  if (pass.place().streaming) {
    check(!settings_.bidirectional && !settings_.backwards, "only a causal layer streams, {} heads", heads);
    block.state_in = block.state_out =
        pass.carried_wide(this, 0, {batch, heads, settings_.width / heads, settings_.value_width / heads});
  }
  pass.run(block);

  pass.save(std::move(stacked));
  Tensor y = pass.make(residual.view().shape());
  out_.forward(pass, mixed, y, {.residual = residual});
  pass.save(std::move(mixed));
  return y;
}

Tensor RetentionMixer::backward(Pass& pass, Tensor d_y, Tensor x) const {
  Tensor mixed = pass.take(), stacked = pass.take();
  out_.weight_gradient(pass, mixed, d_y);
  Tensor d_mixed = std::move(mixed);
  out_.input_gradient(pass, d_y, d_mixed);

  Tensor d_stacked = pass.make(stacked.view().shape());
  const Parts in = parts(stacked), d_in = parts(d_stacked);
  auto block = block_op<ops::RetentionBlockGradient>(pass, in);
  block.d_y = reading(d_mixed);
  block.d_q = reading(d_in.q);
  block.d_k = reading(d_in.k);
  block.d_v = reading(d_in.v);
  block.d_g = reading(d_in.g);
  pass.run(block);
  if (lepe_) lepe_->backward(pass, in.v, d_mixed, View(), d_in.v, ops::Write::accumulate);
  d_mixed = stacked = {};

  stacked_.weight_gradient(pass, x, d_stacked);
  Tensor d_x = std::move(x);
  stacked_.input_gradient(pass, d_stacked, d_x);
  return d_x;
}

}  // namespace vretnet::layers
