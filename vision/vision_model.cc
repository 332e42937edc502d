#include "vision/vision_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/base/ensure.h"
#include "core/layers/attention_mixer.h"
#include "core/layers/depthwise_convolution.h"
#include "core/layers/feed_forward.h"
#include "core/layers/recomputed.h"
#include "core/layers/residual.h"
#include "core/layers/retention_mixer.h"
#include "vision/registry.h"

namespace vretnet::vision {
namespace {

using layers::Initial;
using layers::LinearStart;
using layers::Norm;
using layers::Pass;

constexpr double kPositionDeviation = 0.02;
constexpr double kClassTokenDeviation = 1e-6;  // timm's

// Linear layers of ViTs start as timm's.
LinearStart linear_start(const ModelConfig& config) {
  return config.mixer == MixerKind::attention ? LinearStart::truncated : LinearStart::fan_in;
}

layers::Reading reading_of(Scan scan, std::int64_t layer) {
  if (scan == Scan::cross) return layers::Reading::cross;
  return scan == Scan::alternate && layer % 2 == 1 ? layers::Reading::backwards : layers::Reading::forwards;
}

// The classic RetNet of the same size: causal, so it streams. Empty when the name is not of the zoo.
std::string causal_relative(const std::string& name) {
  constexpr std::string_view kLocal = "_local";
  std::string_view size = name;
  size.remove_prefix(std::min(size.size(), size.find('_')));  // the family: vretnet, vit
  if (size.ends_with(kLocal)) size.remove_suffix(kLocal.size());
  const std::string relative = fmt::format("vretnet{}", size);
  const std::vector<std::string> names = model_names();
  return std::find(names.begin(), names.end(), relative) == names.end() ? "" : relative;
}

std::string such_as(const std::string& example) {
  return example.empty() ? "" : ", such as " + example;
}

}  // namespace

VisionModel::VisionModel(const ModelConfig& config) : config_(config) {
  const std::int64_t width = config_.width;
  if (config_.class_token) {
    class_token_ = table_.add({"cls_token",
                               {1, 1, width},
                               {Initial::truncated_normal, kClassTokenDeviation},
                               /*decays=*/false});
  }
  if (config_.learned_position) {
    positions_ = table_.add({"pos_embed",
                             {1, config_.tokens(), width},
                             {Initial::truncated_normal, kPositionDeviation},
                             /*decays=*/false});
  }
  embedding_ = make_patch_embedding(table_, config_);
  add_blocks();
  pool_.emplace(table_, "attention_pool", Norm(table_, "norm", width, config_.norm_epsilon), config_.pool,
                width);
  head_.emplace(table_, "head", width, config_.classes, LinearStart::truncated);
  table_.lay_out();
}

// The first block stays: its depth is 0.
std::vector<double> VisionModel::branch_depths() const {
  std::vector<double> depths;
  for (std::int64_t index = 1; index < config_.depth; ++index) {
    depths.insert(depths.end(), 2, static_cast<double>(index) / static_cast<double>(config_.depth - 1));
  }
  return depths;
}

void VisionModel::add_blocks() {
  const std::int64_t width = config_.width;
  for (std::int64_t index = 0; index < config_.depth; ++index) {
    const std::string block = fmt::format("blocks.{}", index);
    std::optional<std::int64_t> droppable_mixer, droppable_feed_forward;  // places in branch_depths()
    if (index > 0) droppable_mixer = 2 * index - 2, droppable_feed_forward = 2 * index - 1;
    auto layers_of_block = std::make_unique<layers::Sequential>();
    if (config_.cpe) {
      layers_of_block->add(
          std::make_unique<layers::ConvolutionalPosition>(table_, block + ".cpe", width, config_.causal()));
    }
    const Norm first(table_, block + ".norm1", width, config_.norm_epsilon);
    std::unique_ptr<layers::Branch> mixer = make_mixer(block, index);
    layers_of_block->add(std::make_unique<layers::PreNormResidual>(
        first, std::move(mixer), layer_scale(block + ".ls1"), droppable_mixer));
    const Norm second(table_, block + ".norm2", width, config_.norm_epsilon);
    layers_of_block->add(std::make_unique<layers::PreNormResidual>(
        second,
        std::make_unique<layers::FeedForward>(table_, block + ".mlp", width, config_.ffn_width(),
                                              linear_start(config_)),
        layer_scale(block + ".ls2"), droppable_feed_forward));
    blocks_.add(std::make_unique<layers::Recomputed>(std::move(layers_of_block)));
  }
}

std::optional<layers::LayerScale> VisionModel::layer_scale(const std::string& name) {
  if (config_.layer_scale == 0) return {};
  return layers::LayerScale(table_, name, config_.width, config_.layer_scale);
}

std::unique_ptr<layers::Branch> VisionModel::make_mixer(const std::string& block, std::int64_t index) {
  if (config_.mixer == MixerKind::attention) {
    return std::make_unique<layers::AttentionMixer>(table_, block + ".attn", config_.width, config_.heads,
                                                    linear_start(config_));
  }
  const layers::RetentionSettings settings{
      .width = config_.width,
      .value_width = config_.value_width(),
      .heads = config_.heads,
      .decay = config_.decay,
      .speed = config_.decay_speed,
      .learned_decay = config_.learned_decay,
      .position = config_.position,
      .scale = config_.grid_scale(),
      .bidirectional = config_.scan == Scan::bidirectional,
      .reading = reading_of(config_.scan, index),
      .gate = config_.gate,
      .lepe = config_.lepe,
      .row_causal_lepe = config_.causal(),
      .head_norm = config_.head_norm,
      .head_norm_epsilon = config_.head_norm_epsilon,
  };
  return std::make_unique<layers::RetentionMixer>(table_, block + ".retention", settings);
}

Shape VisionModel::input_shape(std::int64_t batch) const {
  return {batch, config_.image_size[0], config_.image_size[1], config_.in_chans};
}

// ------------------------------------------------------------------------------- positions, class token

Tensor VisionModel::add_positions(Pass& pass, Tensor tokens) const {
  const View patches = tokens;
  const std::int64_t batch = patches.extent(0), count = patches.extent(1), width = config_.width;
  const View positions = positions_ ? pass.weight(*positions_).select(0, 0) : View();  // [tokens, D]
  if (!class_token_) {
    if (positions) pass.run(ops::BroadcastAdd{.x = patches, .addend = positions, .y = patches});
    return tokens;
  }
  Tensor x = pass.make({batch, count + 1, width});
  const View first = x.view().slice(1, 0, 1), others = x.view().slice(1, 1, count);
  const View class_token = pass.weight(*class_token_).select(0, 0);  // [1, D]
  pass.run(ops::Convert{.x = class_token.broadcast(0, batch), .y = first});
  if (positions) {
    pass.run(ops::BroadcastAdd{.x = first, .addend = positions.slice(0, 0, 1), .y = first});
    pass.run(ops::BroadcastAdd{.x = patches, .addend = positions.slice(0, 1, count), .y = others});
  } else {
    pass.run(ops::Convert{.x = patches, .y = others});
  }
  return x;
}

Tensor VisionModel::backward_positions(Pass& pass, Tensor d_x) const {
  const View d = d_x;
  const std::int64_t batch = d.extent(0), tokens = d.extent(1), width = config_.width;
  if (positions_) {
    pass.run(ops::ColumnSum{.x = d.reshaped({batch, tokens * width}),
                            .y = pass.gradient(*positions_).reshaped({tokens * width})});
  }
  if (!class_token_) return d_x;
  pass.run(ops::ColumnSum{.x = d.select(1, 0), .y = pass.gradient(*class_token_).reshaped({width})});
  Tensor d_patches = pass.make({batch, tokens - 1, width});
  pass.run(ops::Convert{.x = d.slice(1, 1, tokens - 1), .y = d_patches});
  return d_patches;
}

// ------------------------------------------------------------------------------------- forward and backward

Tensor VisionModel::embed(Pass& pass, const View& images) const {
  const bool streaming = pass.place().streaming;
  ensure(streaming || images.shape() == input_shape(images.extent(0)), "images {} for a model of {}",
         images.shape().text(), input_shape(images.extent(0)).text());
  ensure(!streaming || why_not_streamable().empty(), "{}", why_not_streamable());
  return embedding_->forward(pass, images);
}

Tensor VisionModel::classify(Pass& pass, Tensor tokens) const {
  Tensor x = blocks_.forward(pass, add_positions(pass, std::move(tokens)));
  Tensor pooled = pool_->forward(pass, std::move(x));
  Tensor logits = pass.make_wide({pooled.view().extent(0), config_.classes});
  head_->forward(pass, pooled, logits);
  pass.save(std::move(pooled));
  return logits;
}

Tensor VisionModel::forward(Pass& pass, const View& images) const {
  return classify(pass, embed(pass, images));
}

Tensor VisionModel::backward_to_tokens(Pass& pass, Tensor d_logits) const {
  d_logits = pass.as_activations(d_logits);
  Tensor pooled = pass.take();
  head_->weight_gradient(pass, pooled, d_logits);
  Tensor d_pooled = std::move(pooled);
  head_->input_gradient(pass, d_logits, d_pooled);
  d_logits = {};
  Tensor d_x = pool_->backward(pass, std::move(d_pooled), config_.tokens());
  d_x = blocks_.backward(pass, std::move(d_x));
  return backward_positions(pass, std::move(d_x));
}

void VisionModel::backward(Pass& pass, Tensor d_logits) const {
  embedding_->backward(pass, backward_to_tokens(pass, std::move(d_logits)));
}

std::string VisionModel::why_not_streamable() const {
  const std::string name = config_.name.empty() ? "this model" : config_.name;
  if (config_.mixer == MixerKind::attention) {
    return fmt::format(
        "{} cannot read an image row by row: softmax attention sees the whole image. A causal model can{}",
        name, such_as(causal_relative(config_.name)));
  }
  if (config_.scan != Scan::causal) {
    return fmt::format(
        "{} cannot read an image row by row: scan = {} also sees what is below. It can when it is trained "
        "with scan = causal{}",
        name, config_value(config_, "scan"), such_as(causal_relative(config_.name)));
  }
  if (config_.pool == layers::Pool::sequence) {
    return fmt::format(
        "{} cannot read an image row by row: pool = sequence weighs all tokens at once. It can when it is "
        "trained with "
        "pool = mean{}",
        name, such_as(causal_relative(config_.name)));
  }
  if (config_.learned_position) {
    return fmt::format(
        "{} cannot read an image row by row: its learned positions belong to one image size. It can when it "
        "is trained with learned_position = false{}",
        name, such_as(causal_relative(config_.name)));
  }
  return {};
}

std::unique_ptr<VisionModel> make_model(const ModelConfig& config) {
  validate(config, config.name.empty() ? "model" : config.name);
  return std::make_unique<VisionModel>(config);
}

}  // namespace vretnet::vision
