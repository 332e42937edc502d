// y = x Wᵀ + b over the rows of x, and its gradients. Not a Layer: it writes where its caller wants, with the
// epilogues of the Gemm op.
#pragma once

#include <optional>
#include <string>

#include "core/layers/pass.h"

namespace vretnet::layers {

// How the weights and biases of linear layers start.
enum class LinearStart : std::uint8_t {
  fan_in,     // uniform ±1/√fan_in, biases too (PyTorch's default)
  truncated,  // truncated normal of deviation 0.02, biases 0 (timm's ViT)
};
Initial initial_weight(LinearStart start, std::int64_t fan_in);
Initial initial_bias(LinearStart start, std::int64_t fan_in);

// [.., width] → [rows, width], as Gemm and the norms want it. The leading axes lie without gaps between them.
View rows_of(View view);

class Linear {
 public:
  // y (+)= activation(α · x Wᵀ + b) + residual, as ops::Gemm.
  struct Epilogue {
    View residual, pre_activation;  // optional, like y
    ops::ActivationKind activation = ops::ActivationKind::none;
  };

  // Adds `name`.weight [out, in] and `name`.bias [out]. A 1×1 convolution, or one whose kernel is its stride,
  // is a linear layer whose weight has kernel axes: [out, in, kernel, kernel] multiplies rows of in·kernel²
  // numbers.
  Linear(ParameterTable& table, const std::string& name, std::int64_t in, std::int64_t out, LinearStart start,
         std::int64_t kernel = 0);
  // A parameter [out, in] that the caller added, without bias.
  explicit Linear(ParameterId weight) : weight_(weight) {}

  // x [.., in], y [.., out]. In integers where the pass holds the weight so.
  void forward(Pass& pass, const View& x, const View& y, const Epilogue& epilogue) const;
  void forward(Pass& pass, const View& x, const View& y) const { forward(pass, x, y, {}); }
  // d_y is the gradient of α · x Wᵀ + b. x is not needed any more after weight_gradient, so that d_x may take
  // its place.
  void weight_gradient(Pass& pass, const View& x, const View& d_y) const;  // and the bias's
  void input_gradient(Pass& pass, const View& d_y, const View& d_x) const;

 private:
  View matrix(const View& weight) const;  // [out, in]

  ParameterId weight_;
  std::optional<ParameterId> bias_;
};

}  // namespace vretnet::layers
