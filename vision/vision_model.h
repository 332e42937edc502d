// The image classifier: patch embedding, blocks, final norm, pooling, head. One class for RetNets and their
// ViT twins; a config says which parts there are.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/layers/layer.h"
#include "core/layers/layer_scale.h"
#include "core/layers/linear.h"
#include "core/layers/pooling.h"
#include "core/model/model.h"
#include "vision/model_config.h"
#include "vision/patch_embedding.h"

namespace vretnet::vision {

class VisionModel : public model::Model {
 public:
  // The config must be valid. Parameter names are MODEL's (timm's for ViTs).
  explicit VisionModel(const ModelConfig& config);

  const ModelConfig& config() const { return config_; }
  const layers::ParameterTable& parameters() const override { return table_; }
  Shape input_shape(std::int64_t batch) const override;
  std::int64_t classes() const override { return config_.classes; }
  std::int64_t patch_size() const override { return config_.patch_size; }

  // Images of a training pass must stay as they are until backward.
  Tensor forward(layers::Pass& pass, const View& images) const override;
  void backward(layers::Pass& pass, Tensor d_logits) const override;

  // The two halves of forward and of backward: pixels and patch tokens [batch, rows · columns, width], before
  // positions are added, and all that follows them.
  Tensor embed(layers::Pass& pass, const View& images) const;
  Tensor classify(layers::Pass& pass, Tensor tokens) const;
  Tensor backward_to_tokens(layers::Pass& pass, Tensor d_logits) const;

  std::string why_not_streamable() const override;

 private:
  void add_blocks();
  std::unique_ptr<layers::Branch> make_mixer(const std::string& block, std::int64_t index);
  std::optional<layers::LayerScale> layer_scale(const std::string& name);
  Tensor add_positions(layers::Pass& pass, Tensor tokens) const;
  Tensor backward_positions(layers::Pass& pass, Tensor d_x) const;

  ModelConfig config_;
  layers::ParameterTable table_;
  std::optional<layers::ParameterId> class_token_, positions_;
  std::unique_ptr<PatchEmbedding> embedding_;
  layers::Sequential blocks_;
  std::optional<layers::NormAndPool> pool_;
  std::optional<layers::Linear> head_;
};

// Throws UsageError where validate() does.
std::unique_ptr<VisionModel> make_model(const ModelConfig& config);

}  // namespace vretnet::vision
