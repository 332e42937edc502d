#include "core/layers/feed_forward.h"

#include <utility>

namespace vretnet::layers {
namespace {

// The shape of x with another innermost extent.
Shape with_width(const View& x, std::int64_t width) {
  Shape shape = x.shape();
  shape[shape.rank() - 1] = width;
  return shape;
}

}  // namespace

FeedForward::FeedForward(ParameterTable& table, const std::string& name, std::int64_t width,
                         std::int64_t hidden, LinearStart start)
    : hidden_(hidden),
      first_(table, name + ".fc1", width, hidden, start),
      second_(table, name + ".fc2", hidden, width, start) {}

Tensor FeedForward::forward(Pass& pass, Tensor x, Tensor residual) const {
  const Shape shape = x.view().shape(), hidden_shape = with_width(x, hidden_);
  Tensor before = pass.training() ? pass.make(hidden_shape) : Tensor();
  Tensor hidden = pass.make(hidden_shape);
  first_.forward(pass, x, hidden, {.pre_activation = before, .activation = ops::ActivationKind::gelu});
  x = {};
  Tensor y = pass.make(shape);
  second_.forward(pass, hidden, y, {.residual = residual});
  pass.save(std::move(before));
  return y;
}

// GELU is made again from its input, in its place, rather than kept.
Tensor FeedForward::backward(Pass& pass, Tensor d_y, Tensor x) const {
  Tensor hidden = pass.take();
  const Tensor d_hidden = pass.make(hidden.view().shape());
  second_.input_gradient(pass, d_y, d_hidden);
  pass.run(ops::ActivationGradient{
      .x = hidden, .d_y = d_hidden, .d_x = d_hidden, .y = hidden, .kind = ops::ActivationKind::gelu});
  second_.weight_gradient(pass, hidden, d_y);
  hidden = {};
  first_.weight_gradient(pass, x, d_hidden);
  Tensor d_x = std::move(x);
  first_.input_gradient(pass, d_hidden, d_x);
  return d_x;
}

}  // namespace vretnet::layers
