// What every layer is: a pair of functions and the parameters it registered. Layers hold no activations and
// are immutable after construction, so one model serves many passes.
//
// Memory contract: a Tensor is passed by value; a layer that is done with its argument lets it go, and
// whatever backward needs is kept with pass.save(...) and taken back in reverse order. Gradients of
// parameters accumulate
// (+=) into pass.gradient(id); gradients of activations are returned as new tensors.
#pragma once

#include <memory>
#include <vector>

#include "core/layers/pass.h"

namespace vretnet::layers {

// y = f(x). backward: d_y → d_x.
class Layer {
 public:
  virtual ~Layer() = default;
  virtual Tensor forward(Pass& pass, Tensor x) const = 0;
  virtual Tensor backward(Pass& pass, Tensor d_y) const = 0;
};

// y = residual + f(x): the last GEMM of f adds the residual for free; an empty residual is 0. backward: d_y →
// ∂/∂x only; the residual's own gradient is d_y and belongs to the caller. A branch does not save x: the
// caller gives it to backward again, and may make it anew (a norm's output costs less time to repeat than
// memory to keep). The branch may return its gradient in x's memory.
class Branch {
 public:
  virtual ~Branch() = default;
  virtual Tensor forward(Pass& pass, Tensor x, Tensor residual) const = 0;
  virtual Tensor backward(Pass& pass, Tensor d_y, Tensor x) const = 0;
};

// Children one after the other; backward runs them from the last to the first.
class Sequential : public Layer {
 public:
  void add(std::unique_ptr<Layer> layer) { layers_.push_back(std::move(layer)); }
  std::size_t size() const { return layers_.size(); }
  Tensor forward(Pass& pass, Tensor x) const override;
  Tensor backward(Pass& pass, Tensor d_y) const override;

 private:
  std::vector<std::unique_ptr<Layer>> layers_;
};

}  // namespace vretnet::layers
