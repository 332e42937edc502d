// What training, evaluation and streaming know of a model. Immutable and shared: weights live outside.
#pragma once

#include <string>
#include <vector>

#include "core/layers/layer.h"

namespace vretnet::model {

class Model {
 public:
  virtual ~Model() = default;

  virtual const layers::ParameterTable& parameters() const = 0;
  virtual Shape input_shape(std::int64_t batch) const = 0;  // [batch, height, width, channels]
  virtual std::int64_t classes() const = 0;

  // images [batch, height, width, channels], normalised, in the pass's dtype → logits [batch, classes], in
  // wide_of(it).
  virtual Tensor forward(layers::Pass& pass, const View& images) const = 0;
  // d_logits [batch, classes], as logits; adds to the gradients of all parameters.
  virtual void backward(layers::Pass& pass, Tensor d_logits) const = 0;

  // The residual branches that stochastic depth may leave out, in the order of Pass::branch_scale: how deep
  // each one's block lies, above 0 to 1, the last block's.
  virtual std::vector<double> branch_depths() const = 0;

  // Empty when the model can read an image row by row; otherwise the reason why not, for the user.
  virtual std::string why_not_streamable() const = 0;
  virtual std::int64_t patch_size() const = 0;
};

}  // namespace vretnet::model
