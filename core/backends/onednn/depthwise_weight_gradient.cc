// DepthwiseWeightGradient: every part sums over its rows of the images, the parts are joined in order.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/depthwise_weight_gradient.cc"
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

// sums[v, c] += Σ_j x[j + v − left, c] · d_y[j, c] over the columns j whose pixel lies inside the image, for
// one row of the kernel over one row of the image. sums [kernel width, channels].
void tap_row(const float* x, std::int64_t x_column, std::int64_t width, const float* d_y,
             std::int64_t d_y_column, std::int64_t width_out, std::int64_t left, std::int64_t kernel_width,
             std::int64_t channels, float* sums) {
  const std::int64_t inner_begin = std::clamp<std::int64_t>(left, 0, width_out);
  const std::int64_t inner_end = std::clamp<std::int64_t>(width + left - 2, inner_begin, width_out);
  const bool three = kernel_width == 3;
  for_vectors(channels, [&](auto lanes, std::int64_t c) HWY_ATTR {
    const auto any_columns = [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
      for (std::int64_t v = 0; v < kernel_width; ++v) {
        const std::int64_t from = std::max(begin, left - v), to = std::min(end, width + left - v);
        Vector total = lanes.load(sums + v * channels + c);
        for (std::int64_t j = from; j < to; ++j) {
          total = hn::MulAdd(lanes.load(x + (j + v - left) * x_column + c),
                             lanes.load(d_y + j * d_y_column + c), total);
        }
        lanes.store(total, sums + v * channels + c);
      }
    };
    if (!three) return any_columns(0, width_out);
    any_columns(0, inner_begin);
    Vector s0 = lanes.load(sums + c), s1 = lanes.load(sums + channels + c),
           s2 = lanes.load(sums + 2 * channels + c);
    const float* at = x + (inner_begin - left) * x_column + c;
    for (std::int64_t j = inner_begin; j < inner_end; ++j, at += x_column) {
      const Vector d = lanes.load(d_y + j * d_y_column + c);
      s0 = hn::MulAdd(lanes.load(at), d, s0);
      s1 = hn::MulAdd(lanes.load(at + x_column), d, s1);
      s2 = hn::MulAdd(lanes.load(at + 2 * x_column), d, s2);
    }
    lanes.store(s0, sums + c);
    lanes.store(s1, sums + channels + c);
    lanes.store(s2, sums + 2 * channels + c);
    any_columns(inner_end, width_out);
  });
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(tap_row);
namespace {

// Sums per part, [parts, taps + 1, channels]: the taps', then the bias's.
View take_partial_sums(ops::Workspace& workspace, const ops::DepthwiseWeightGradient& op) {
  const std::int64_t taps = op.d_weight.extent(2) * op.d_weight.extent(3);
  return workspace.take(DType::f32, {parts_for(2 * op.d_y.elements()), taps + 1, op.d_weight.extent(0)});
}

}  // namespace

std::size_t workspace_bytes(const ops::DepthwiseWeightGradient& op) {
  ops::Workspace workspace;
  take_partial_sums(workspace, op);
  return workspace.bytes();
}

void run(const ops::DepthwiseWeightGradient& op) {
  if (op.d_y.elements() == 0 || op.x.elements() == 0) return;
  ops::Workspace workspace(op.workspace);
  const View partial = take_partial_sums(workspace, op);
  const int parts = static_cast<int>(partial.extent(0));
  const std::int64_t kernel_height = op.d_weight.extent(2), kernel_width = op.d_weight.extent(3);
  const std::int64_t taps = kernel_height * kernel_width, channels = op.d_weight.extent(0);
  const std::int64_t size = (taps + 1) * channels, rows = op.d_y.extent(1), height = op.x.extent(1);
  for_parts(parts, [&](int part) {
    float* sums = partial.data<float>() + part * size;
    std::fill_n(sums, size, 0.0f);
    const Range range = part_of(op.d_y.extent(0) * rows, part, parts);
    for (std::int64_t item = range.begin; item < range.end; ++item) {
      const std::int64_t image = item / rows, row = item % rows;
      const float* d_y = op.d_y.data<float>() + image * op.d_y.stride(0) + row * op.d_y.stride(1);
      for (std::int64_t u = 0; u < kernel_height; ++u) {
        const std::int64_t x_row = row + u - op.padding.top;
        if (x_row < 0 || x_row >= height) continue;
        HWY_DYNAMIC_DISPATCH(tap_row)
        (op.x.data<float>() + image * op.x.stride(0) + x_row * op.x.stride(1), op.x.stride(2), op.x.extent(2),
         d_y, op.d_y.stride(2), op.d_y.extent(2), op.padding.left, kernel_width, channels,
         sums + u * kernel_width * channels);
      }
      if (op.d_bias) {
        add_column_sums(d_y, op.d_y.stride(2), op.d_y.extent(2), channels, 1, sums + taps * channels);
      }
    }
  });
  // The first part takes the others in; its taps then lie with channels innermost, the weight's outermost.
  float* total = partial.data<float>();
  if (parts > 1) add_column_sums(total + size, size, parts - 1, size, 1, total);
  for (std::int64_t c = 0; c < channels; ++c) {
    float* d_weight = op.d_weight.data<float>() + c * op.d_weight.stride(0);
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      d_weight[tap / kernel_width * op.d_weight.stride(2) + tap % kernel_width] += total[tap * channels + c];
    }
  }
  if (!op.d_bias) return;
  for (std::int64_t c = 0; c < channels; ++c) op.d_bias.data<float>()[c] += total[taps * channels + c];
}

}  // namespace vretnet::onednn
#endif  // HWY_ONCE
