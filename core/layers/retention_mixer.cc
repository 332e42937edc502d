#include "core/layers/retention_mixer.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/base/ensure.h"

namespace vretnet::layers {
namespace {

constexpr std::int64_t kLongestRasterChunk =
    64;  // a longer one costs more in its mask than it saves in states
constexpr std::int64_t kFullChunk =
    32;  // lines are joined up to so many tokens: measured, core/PERFORMANCE.md
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

ops::RetentionPattern choose_pattern(const Pass& pass, const RetentionSettings& settings, std::int64_t tokens,
                                     std::int64_t line) {
  using ops::RetentionForm;
  const std::int64_t chunk_rows = pass.options().chunk_rows;
  std::int64_t chunk = (chunk_rows > 0 ? chunk_rows : std::max<std::int64_t>(1, kFullChunk / line)) * line;
  if (settings.decay == ops::DecayKind::raster) chunk = std::min(chunk, kLongestRasterChunk);
  ops::RetentionPattern pattern{
      .decay = settings.decay, .bidirectional = settings.bidirectional, .row_width = line};
  if (settings.decay == ops::DecayKind::manhattan) return pattern;
  const bool can_recur = retention::has_one_gamma(settings.decay, settings.scale);
  FormChoice form = pass.options().form;
  if (form == FormChoice::recurrent && !can_recur) form = FormChoice::chunkwise;
  switch (form) {
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
      if (pass.place().streaming && tokens == 1 && can_recur) {
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
      orders_(scan_orders(settings.reading, settings.heads)),
      stacked_(add_projections(table, name, settings)),
      lepe_(make_lepe(table, name, settings)),
      out_(add_out_projection(table, name, settings)) {
  if (settings.learned_decay) decay_.emplace(table, name + ".decay", settings.heads, settings.speed);
}

RetentionMixer::Parts RetentionMixer::parts(const View& stacked) const {
  const std::int64_t width = settings_.width, values = settings_.value_width;
  return {stacked.slice(2, 0, width), stacked.slice(2, width, width), stacked.slice(2, 2 * width, values),
          settings_.gate ? stacked.slice(2, 2 * width + values, values) : View()};
}

retention::DecaySpec RetentionMixer::decay_spec(const Pass& pass, std::int64_t tokens,
                                                const ScanOrder& order) const {
  const Place& place = pass.place();
  retention::GridScale scale = settings_.scale;
  if (order.by_columns) std::swap(scale.rows, scale.columns);
  return {.pattern = choose_pattern(pass, settings_, tokens, order.by_columns ? place.height : place.width),
          .heads = static_cast<int>(settings_.heads),
          .first_head = static_cast<int>(order.first_head),
          .head_step = static_cast<int>(order.head_step),
          .speed = settings_.speed,
          .height = order.by_columns ? place.width : place.height,
          .first_token = place.first_token,
          .tokens = tokens,
          .scale = scale};
}

template <class BlockOp>
BlockOp RetentionMixer::block_op(Pass& pass, const Parts& parts, const ScanOrder& order,
                                 const retention::DecaySpec& decay, Tensor& tables) const {
  const std::int64_t key_width = settings_.width / settings_.heads;
  const TableCache::Rotation rotation = pass.tables().rotation({.position = settings_.position,
                                                                .key_width = key_width,
                                                                .row_width = decay.pattern.row_width,
                                                                .first_token = decay.first_token,
                                                                .tokens = decay.tokens,
                                                                .scale = decay.scale});
  BlockOp op;
  op.q = in_order(parts.q, settings_.heads, order);
  op.k = in_order(parts.k, settings_.heads, order);
  op.v = in_order(parts.v, settings_.heads, order);
  op.g = in_order(parts.g, settings_.heads, order);
  op.cosine = rotation.cosine;
  op.sine = rotation.sine;
  op.tables = decay_ ? decay_->tables(pass, decay, tables) : pass.tables().decay(decay);
  op.pattern = decay.pattern;
  op.key_scale = static_cast<float>(1 / std::sqrt(static_cast<double>(key_width)));
  op.head_norm = settings_.head_norm;
  op.epsilon = static_cast<float>(settings_.head_norm_epsilon);
  return op;
}

// All heads, though half of them are read: one copy in place of one for each order and part.
Tensor RetentionMixer::by_columns(Pass& pass, const View& by_rows) const {
  if (settings_.reading != Reading::cross) return {};
  const Place& place = pass.place();
  Tensor columns = pass.make(by_rows.shape());
  pass.run(ops::Convert{.x = by_rows.split(1, place.height).transposed(1, 2),
                        .y = columns.view().split(1, place.width)});
  return columns;
}

void RetentionMixer::to_rows(Pass& pass, const View& by_columns, const View& by_rows, const ScanOrder& order,
                             ops::Write write) const {
  const Place& place = pass.place();
  pass.run(ops::Convert{.x = in_lines(by_columns, place.width, settings_.heads, order).transposed(1, 2),
                        .y = in_lines(by_rows, place.height, settings_.heads, order),
                        .write = write});
}

Tensor RetentionMixer::forward(Pass& pass, Tensor x, Tensor residual) const {
  const std::int64_t batch = x.view().extent(0), tokens = x.view().extent(1), heads = settings_.heads;
  const std::int64_t stacked_width = 2 * settings_.width + (settings_.gate ? 2 : 1) * settings_.value_width;
  Tensor stacked = pass.make({batch, tokens, stacked_width});
  stacked_.forward(pass, x, stacked);
  x = {};

  Tensor mixed = pass.make({batch, tokens, settings_.value_width});
  if (lepe_) lepe_->forward(pass, parts(stacked).v, View(), mixed);
  const ops::Write write = lepe_ ? ops::Write::accumulate : ops::Write::overwrite;
  Tensor columns = by_columns(pass, stacked);
  const Tensor mixed_columns = columns ? pass.make(mixed.view().shape()) : Tensor();
  for (const ScanOrder& order : orders_) {
    Tensor tables;
    auto block = block_op<ops::RetentionBlock>(pass, parts(order.by_columns ? columns : stacked), order,
                                               decay_spec(pass, tokens, order), tables);
    block.y = in_order(order.by_columns ? mixed_columns : mixed, heads, order);
    if (!order.by_columns) block.write = write;
    if (pass.place().streaming) {
      ensure(!settings_.bidirectional && settings_.reading == Reading::forwards,
             "only a causal layer streams, {} heads", heads);
      block.state_in = block.state_out =
          pass.carried_wide(this, 0, {batch, heads, settings_.width / heads, settings_.value_width / heads});
    }
    pass.run(block);
    if (pass.observer()) pass.observer()->saw(block, order);
    if (order.by_columns) to_rows(pass, mixed_columns, mixed, order, write);
  }
  columns = {};

  pass.save(std::move(stacked));
  Tensor y = pass.make({batch, tokens, settings_.width});
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
  {
    const Tensor columns = by_columns(pass, stacked), d_mixed_columns = by_columns(pass, d_mixed);
    const Tensor d_columns = columns ? pass.make(stacked.view().shape()) : Tensor();
    for (const ScanOrder& order : orders_) {
      const auto here = [&](const Tensor& by_row, const Tensor& by_column) -> const Tensor& {
        return order.by_columns ? by_column : by_row;
      };
      const Parts d_in = parts(here(d_stacked, d_columns));
      const retention::DecaySpec decay = decay_spec(pass, stacked.view().extent(1), order);
      Tensor tables, derivative;
      auto block =
          block_op<ops::RetentionBlockGradient>(pass, parts(here(stacked, columns)), order, decay, tables);
      if (decay_) {
        derivative = decay_->derivative(pass, decay);
        block.decay_derivative = derivative;
        block.d_log_rate = decay_->gradient(pass, decay);
      }
      block.d_y = in_order(here(d_mixed, d_mixed_columns), settings_.heads, order);
      block.d_q = in_order(d_in.q, settings_.heads, order);
      block.d_k = in_order(d_in.k, settings_.heads, order);
      block.d_v = in_order(d_in.v, settings_.heads, order);
      block.d_g = in_order(d_in.g, settings_.heads, order);
      pass.run(block);
      if (!order.by_columns) continue;
      const Parts d_out = parts(d_stacked);
      to_rows(pass, d_in.q, d_out.q, order, ops::Write::overwrite);
      to_rows(pass, d_in.k, d_out.k, order, ops::Write::overwrite);
      to_rows(pass, d_in.v, d_out.v, order, ops::Write::overwrite);
      if (d_in.g) to_rows(pass, d_in.g, d_out.g, order, ops::Write::overwrite);
    }
  }
  if (lepe_)
    lepe_->backward(pass, parts(stacked).v, d_mixed, View(), parts(d_stacked).v, ops::Write::accumulate);
  d_mixed = stacked = {};

  stacked_.weight_gradient(pass, x, d_stacked);
  Tensor d_x = std::move(x);
  stacked_.input_gradient(pass, d_stacked, d_x);
  return d_x;
}

}  // namespace vretnet::layers
