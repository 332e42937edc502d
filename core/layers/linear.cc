#include "core/layers/linear.h"

#include "core/base/ensure.h"

namespace vretnet::layers {
namespace {
constexpr double kTruncatedDeviation = 0.02;
}

Initial initial_weight(LinearStart start, std::int64_t fan_in) {
  return start == LinearStart::fan_in ? uniform_by_fan_in(fan_in)
                                      : Initial{Initial::truncated_normal, kTruncatedDeviation};
}

Initial initial_bias(LinearStart start, std::int64_t fan_in) {
  return start == LinearStart::fan_in ? uniform_by_fan_in(fan_in) : Initial{Initial::zeros};
}

View rows_of(View view) {
  while (view.rank() > 2) view = view.merged(0);
  return view;
}

Linear::Linear(ParameterTable& table, const std::string& name, std::int64_t in, std::int64_t out,
               LinearStart start, std::int64_t kernel) {
  const std::int64_t fan_in = kernel > 0 ? in * kernel * kernel : in;
  const Shape shape = kernel > 0 ? Shape{out, in, kernel, kernel} : Shape{out, in};
  weight_ = table.add({name + ".weight", shape, initial_weight(start, fan_in)});
  bias_ = table.add({name + ".bias", {out}, initial_bias(start, fan_in), /*decays=*/false});
}

View Linear::matrix(const View& weight) const {
  const std::int64_t out = weight.extent(0);
  return weight.reshaped({out, weight.elements() / out});
}

void Linear::forward(Pass& pass, const View& x, const View& y, const Epilogue& epilogue) const {
  if (const QuantizedLinear* quantized = pass.quantized(weight_)) {
    ensure(!pass.training() && !epilogue.pre_activation, "quantized weights are for inference");
    ops::QuantizedGemm gemm{.a = rows_of(x),
                            .b = quantized->weight.transposed(),
                            .y = rows_of(y),
                            .a_scale = quantized->input_scale,
                            .b_scale = quantized->weight_scale};
    if (bias_) gemm.bias = pass.weight(*bias_);
    if (epilogue.residual) gemm.residual = rows_of(epilogue.residual);
    gemm.activation = epilogue.activation;
    pass.run(gemm);
    return;
  }
  ops::Gemm gemm{.a = rows_of(x), .b = matrix(pass.weight(weight_)).transposed(), .y = rows_of(y)};
  if (bias_) gemm.bias = pass.weight(*bias_);
  if (epilogue.residual) gemm.residual = rows_of(epilogue.residual);
  if (epilogue.pre_activation) gemm.pre_activation = rows_of(epilogue.pre_activation);
  gemm.activation = epilogue.activation;
  gemm.constant_b = !pass.training();
  pass.run(gemm);
}

void Linear::weight_gradient(Pass& pass, const View& x, const View& d_y) const {
  const View d_rows = rows_of(d_y);
  pass.run(ops::Gemm{.a = d_rows.transposed(),
                     .b = rows_of(x),
                     .y = matrix(pass.gradient(weight_)),
                     .write = ops::Write::accumulate});
  if (bias_) pass.run(ops::ColumnSum{.x = d_rows, .y = pass.gradient(*bias_)});
}

void Linear::input_gradient(Pass& pass, const View& d_y, const View& d_x) const {
  pass.run(ops::Gemm{.a = rows_of(d_y), .b = matrix(pass.weight(weight_)), .y = rows_of(d_x)});
}

}  // namespace vretnet::layers
