// A layer whose activations are made again in backward, where the pass asks for that
// (Pass::Options::checkpoint_activations): only its input is kept, at the price of a second forward.
// T. Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016.
#pragma once

#include <memory>
#include <utility>

#include "core/layers/layer.h"

namespace vretnet::layers {

class Recomputed : public Layer {
 public:
  explicit Recomputed(std::unique_ptr<Layer> layer) : layer_(std::move(layer)) {}

  Tensor forward(Pass& pass, Tensor x) const override;
  Tensor backward(Pass& pass, Tensor d_y) const override;

 private:
  std::unique_ptr<Layer> layer_;
};

}  // namespace vretnet::layers
