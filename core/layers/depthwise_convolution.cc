#include "core/layers/depthwise_convolution.h"

#include <utility>

#include "core/base/ensure.h"

namespace vretnet::layers {
namespace {

constexpr std::int64_t kKernel = 3;
constexpr std::int64_t kRowsAbove = kKernel - 1;  // of a row-causal kernel

// [batch, tokens, channels] → [batch, rows, columns, channels].
View image_of(const Pass& pass, const View& tokens) {
  const std::int64_t columns = pass.place().width;
  ensure(columns > 0 && tokens.extent(1) % columns == 0,
         "a convolution needs whole rows of {}, {} tokens came", columns, tokens.extent(1));
  return tokens.split(1, tokens.extent(1) / columns);
}

View image_of_optional(const Pass& pass, const View& tokens) {
  return tokens ? image_of(pass, tokens) : View();
}

}  // namespace

Tensor below_carried_rows(Pass& pass, const void* owner, int slot, const View& x, std::int64_t rows_above) {
  Shape above = x.shape();
  above[1] = rows_above;
  const View carried = pass.carried(owner, slot, above);
  const std::int64_t rows = x.extent(1);
  Shape whole = x.shape();
  whole[1] = rows_above + rows;
  Tensor joined = pass.make(whole);
  const View& all = joined;
  pass.run(ops::Convert{.x = carried, .y = all.slice(1, 0, rows_above)});
  pass.run(ops::Convert{.x = x, .y = all.slice(1, rows_above, rows)});
  pass.run(ops::Convert{.x = all.slice(1, rows, rows_above), .y = carried});
  return joined;
}

DepthwiseConvolution::DepthwiseConvolution(ParameterTable& table, const std::string& name,
                                           std::int64_t channels, bool row_causal)
    : weight_(table.add(
          {name + ".weight", {channels, 1, kKernel, kKernel}, uniform_by_fan_in(kKernel * kKernel)})),
      bias_(table.add({name + ".bias", {channels}, uniform_by_fan_in(kKernel * kKernel), /*decays=*/false})),
      padding_(row_causal ? ops::Padding{.top = kRowsAbove, .left = 1, .right = 1}
                          : ops::Padding{.top = 1, .bottom = 1, .left = 1, .right = 1}) {}

void DepthwiseConvolution::forward(Pass& pass, const View& x, const View& residual, const View& y) const {
  if (pass.place().streaming) return forward_streamed(pass, x, residual, y);
  pass.run(ops::Depthwise{.x = image_of(pass, x),
                          .weight = pass.weight(weight_),
                          .bias = pass.weight(bias_),
                          .residual = image_of_optional(pass, residual),
                          .y = image_of(pass, y),
                          .padding = padding_});
}

void DepthwiseConvolution::forward_streamed(Pass& pass, const View& x, const View& residual,
                                            const View& y) const {
  ensure(padding_.bottom == 0, "a convolution that reads {} rows below cannot stream", padding_.bottom);
  const Tensor rows = below_carried_rows(pass, this, 0, image_of(pass, x), kRowsAbove);
  pass.run(ops::Depthwise{.x = rows,
                          .weight = pass.weight(weight_),
                          .bias = pass.weight(bias_),
                          .residual = image_of_optional(pass, residual),
                          .y = image_of(pass, y),
                          .padding = {.left = padding_.left, .right = padding_.right}});
}

void DepthwiseConvolution::backward(Pass& pass, const View& x, const View& d_y, const View& residual,
                                    const View& d_x, ops::Write write) const {
  pass.run(ops::DepthwiseWeightGradient{.x = image_of(pass, x),
                                        .d_y = image_of(pass, d_y),
                                        .d_weight = pass.gradient(weight_),
                                        .d_bias = pass.gradient(bias_),
                                        .padding = padding_});
  pass.run(ops::DepthwiseInputGradient{.weight = pass.weight(weight_),
                                       .d_y = image_of(pass, d_y),
                                       .residual = image_of_optional(pass, residual),
                                       .d_x = image_of(pass, d_x),
                                       .padding = padding_,
                                       .write = write});
}

Tensor ConvolutionalPosition::forward(Pass& pass, Tensor x) const {
  Tensor y = pass.make(x.view().shape());
  convolution_.forward(pass, x, x, y);
  pass.save(std::move(x));
  return y;
}

Tensor ConvolutionalPosition::backward(Pass& pass, Tensor d_y) const {
  const Tensor x = pass.take();
  Tensor d_x = pass.make(x.view().shape());
  convolution_.backward(pass, x, d_y, d_y, d_x, ops::Write::overwrite);
  return d_x;
}

}  // namespace vretnet::layers
