// From images to tokens: one linear map of each patch, or a few convolutions that halve the image.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/layers/linear.h"
#include "core/layers/norm.h"
#include "vision/model_config.h"

namespace vretnet::vision {

class PatchEmbedding {
 public:
  virtual ~PatchEmbedding() = default;

  // images [batch, height, width, channels] → tokens [batch, rows · columns, D], in raster order. In training
  // the images must stay as they are until backward. A stream gives successive pieces from top to bottom.
  virtual Tensor forward(layers::Pass& pass, const View& images) const = 0;
  // Parameters' gradients only: nothing comes before an image.
  virtual void backward(layers::Pass& pass, Tensor d_tokens) const = 0;
};

// Adds patch_embed.proj.weight|bias and, for a conv stem, patch_embed.stem.{i}.*.
std::unique_ptr<PatchEmbedding> make_patch_embedding(layers::ParameterTable& table,
                                                     const ModelConfig& config);

// tokens = patches · Wᵀ + b.
class LinearPatches : public PatchEmbedding {
 public:
  LinearPatches(layers::ParameterTable& table, const ModelConfig& config);
  Tensor forward(layers::Pass& pass, const View& images) const override;
  void backward(layers::Pass& pass, Tensor d_tokens) const override;

 private:
  Tensor patches(layers::Pass& pass, const View& images) const;

  std::int64_t patch_, width_;
  layers::Linear projection_;
};

// Stages of GELU(LN(Conv3×3, stride 2)), then a 1×1 convolution. Row r of patches reads no pixel row below
// its own, so a stream carries one row of each stage's input.
class ConvStem : public PatchEmbedding {
 public:
  ConvStem(layers::ParameterTable& table, const ModelConfig& config);
  Tensor forward(layers::Pass& pass, const View& images) const override;
  void backward(layers::Pass& pass, Tensor d_tokens) const override;

 private:
  struct Stage {
    layers::ParameterId weight;
    layers::Norm norm;
    std::int64_t channels;  // out
  };
  Tensor forward_stage(layers::Pass& pass, int index, const Tensor& x) const;
  // Without wants_d_x the result is empty.
  Tensor backward_stage(layers::Pass& pass, int index, Tensor d_y, bool wants_d_x) const;

  std::int64_t width_;
  std::vector<Stage> stages_;
  layers::Linear projection_;
};

}  // namespace vretnet::vision
