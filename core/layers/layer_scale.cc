#include "core/layers/layer_scale.h"

namespace vretnet::layers {
namespace {

// A factor for each channel is a depthwise convolution by one element.
View as_image(const View& x) {
  return x ? x.split(1, x.extent(1)) : x;
}
View as_kernel(const View& scale) {
  return scale.reshaped({scale.extent(0), 1, 1, 1});
}

}  // namespace

LayerScale::LayerScale(ParameterTable& table, const std::string& name, std::int64_t width, double initial)
    : scale_(table.add({name + ".gamma", {width}, {Initial::constant, initial}, /*decays=*/false})) {}

Tensor LayerScale::forward(Pass& pass, const View& x, const View& residual) const {
  Tensor y = pass.make(x.shape());
  pass.run(ops::Depthwise{.x = as_image(x),
                          .weight = as_kernel(pass.weight(scale_)),
                          .residual = as_image(residual),
                          .y = as_image(y)});
  return y;
}

Tensor LayerScale::backward(Pass& pass, const View& x, const View& d_y) const {
  pass.run(ops::DepthwiseWeightGradient{
      .x = as_image(x), .d_y = as_image(d_y), .d_weight = as_kernel(pass.gradient(scale_))});
  Tensor d_x = pass.make(x.shape());
  pass.run(ops::DepthwiseInputGradient{
      .weight = as_kernel(pass.weight(scale_)), .d_y = as_image(d_y), .d_x = as_image(d_x)});
  return d_x;
}

}  // namespace vretnet::layers
