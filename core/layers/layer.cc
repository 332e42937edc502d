#include "core/layers/layer.h"

#include <utility>

namespace vretnet::layers {

Tensor Sequential::forward(Pass& pass, Tensor x) const {
  for (const auto& layer : layers_) x = layer->forward(pass, std::move(x));
  return x;
}

Tensor Sequential::backward(Pass& pass, Tensor d_y) const {
  for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
    d_y = (*layer)->backward(pass, std::move(d_y));
  }
  return d_y;
}

}  // namespace vretnet::layers
