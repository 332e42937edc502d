// LayerNorm and its gradient: rows shared out among threads; the sums over rows that d_gain and d_bias need
// are made per part and joined in the order of the parts.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/layer_norm.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h:
#include <algorithm>

#include "core/backends/onednn/column_sum.h"
#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/row_kernels-inl.h"
#include "core/backends/onednn/rows.h"
#include "core/ops/workspace.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

void layer_norm_row(const float* x, const float* gain, const float* bias, float* y, std::int64_t n,
                    float epsilon, float* mean, float* inverse_deviation) {
  const Statistics s = statistics(x, n, epsilon, true);
  const Vector centre = hn::Set(Floats(), s.mean), scale = hn::Set(Floats(), s.inverse_deviation);
  for_vectors(n, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const Vector normalised = hn::Mul(hn::Sub(lanes.load(x + i), centre), scale);
    lanes.store(hn::MulAdd(normalised, lanes.load(gain + i), lanes.load(bias + i)), y + i);
  });
  if (mean) *mean = s.mean;
  if (inverse_deviation) *inverse_deviation = s.inverse_deviation;
}

void layer_norm_gradient_row(const float* x, const float* gain, Statistics s, const float* d_y,
                             const float* residual, float* d_x, float* d_gain, float* d_bias,
                             std::int64_t n) {
  const Floats d;
  const Vector centre = hn::Set(d, s.mean), scale = hn::Set(d, s.inverse_deviation);
  Vector projection = hn::Zero(d);
  const float mean_gradient =
      sum_vectors(n,
                  [&](auto lanes, std::int64_t i) HWY_ATTR {
                    const Vector normalised = hn::Mul(hn::Sub(lanes.load(x + i), centre), scale),
                                 gradient = lanes.load(d_y + i);
                    const Vector scaled = hn::Mul(gradient, lanes.load(gain + i));
                    projection = hn::Add(projection, lanes.keep(hn::Mul(scaled, normalised)));
                    lanes.store(hn::MulAdd(gradient, normalised, lanes.load(d_gain + i)), d_gain + i);
                    lanes.store(hn::Add(gradient, lanes.load(d_bias + i)), d_bias + i);
                    return scaled;
                  }) /
      static_cast<float>(n);
  const float mean_projection = hn::GetLane(hn::SumOfLanes(d, projection)) / static_cast<float>(n);
  const Vector along_one = hn::Set(d, mean_gradient), along_x = hn::Set(d, mean_projection);
  for_vectors(n, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const Vector normalised = hn::Mul(hn::Sub(lanes.load(x + i), centre), scale);
    const Vector scaled = hn::Mul(lanes.load(d_y + i), lanes.load(gain + i));
    const Vector inner = hn::NegMulAdd(normalised, along_x, hn::Sub(scaled, along_one));
    lanes.store(residual ? hn::MulAdd(inner, scale, lanes.load(residual + i)) : hn::Mul(inner, scale),
                d_x + i);
  });
}

void layer_norm_gradient_rows(const Rows<4>& rows, Range range, const float* gain, const float* mean,
                              const float* inverse_deviation, float* d_gain, float* d_bias) {
  rows.for_each(range, [&](std::int64_t row, const auto& at) {
    layer_norm_gradient_row(at[1], gain, {mean[row], inverse_deviation[row]}, at[2], at[3], at[0], d_gain,
                            d_bias, rows.width());
  });
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(layer_norm_row);
HWY_EXPORT(layer_norm_gradient_rows);
namespace {

// Sums per part, [parts, 2, width]: d_gain's, d_bias's.
View take_partial_sums(ops::Workspace& workspace, const ops::LayerNormGradient& op) {
  return workspace.take(DType::f32, {parts_for(op.x.elements()), 2, op.x.extent(1)});
}

}  // namespace

void run(const ops::LayerNorm& op) {
  if (op.x.elements() == 0) return;
  const Rows<2> rows({op.y, op.x}, RowAxes::innermost);
  const float *gain = op.gain.data<float>(), *bias = op.bias.data<float>();
  float* mean = op.mean ? op.mean.data<float>() : nullptr;
  float* inverse_deviation = op.inverse_deviation ? op.inverse_deviation.data<float>() : nullptr;
  for_ranges(rows.rows(), rows.width(), [&](Range range) {
    rows.for_each(range, [&](std::int64_t row, const auto& at) {
      HWY_DYNAMIC_DISPATCH(layer_norm_row)
      (at[1], gain, bias, at[0], rows.width(), op.epsilon, mean ? mean + row : nullptr,
       inverse_deviation ? inverse_deviation + row : nullptr);
    });
  });
}

std::size_t workspace_bytes(const ops::LayerNormGradient& op) {
  ops::Workspace workspace;
  take_partial_sums(workspace, op);
  return workspace.bytes();
}

void run(const ops::LayerNormGradient& op) {
  if (op.x.elements() == 0) return;
  ops::Workspace workspace(op.workspace);
  const View partial = take_partial_sums(workspace, op);
  const Rows<4> rows({op.d_x, op.x, op.d_y, op.residual}, RowAxes::innermost);
  const std::int64_t width = rows.width();
  const int parts = static_cast<int>(partial.extent(0));
  for_parts(parts, [&](int part) {
    float* sums = partial.data<float>() + part * 2 * width;
    std::fill_n(sums, 2 * width, 0.0f);
    HWY_DYNAMIC_DISPATCH(layer_norm_gradient_rows)
    (rows, part_of(rows.rows(), part, parts), op.gain.data<float>(), op.mean.data<float>(),
     op.inverse_deviation.data<float>(), sums, sums + width);
  });
  add_column_sums(partial.data<float>(), 2 * width, parts, width, 1, op.d_gain.data<float>());
  add_column_sums(partial.data<float>() + width, 2 * width, parts, width, 1, op.d_bias.data<float>());
}

}  // namespace vretnet::onednn
#endif  // HWY_ONCE
