// Depthwise convolution and its input gradient (which is one too, with the kernel turned round), NHWC:
// vectors run over channels, so that every stride and padding of the image is an address.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/depthwise.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h:
#include <algorithm>
#include <array>
#include <cstdint>

#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/row_kernels-inl.h"
#include "core/backends/onednn/rows.h"
#include "core/base/ensure.h"

namespace vretnet::onednn {
#ifndef VRETNET_ONEDNN_DEPTHWISE_ROW_
#define VRETNET_ONEDNN_DEPTHWISE_ROW_
// One row of output pixels, some channels of it. Pointers are at the first of these channels.
struct DepthwiseRow {
  const float* x;  // the image
  std::int64_t x_row, x_column, height, width;
  const float* taps;  // [kernel height · kernel width, tap_stride]
  std::int64_t tap_stride, kernel_height, kernel_width;
  const float* bias;  // may be null, as residual
  const float* residual;
  float* y;
  std::int64_t residual_column, y_column, width_out;
  std::int64_t row, top, left, channels;
  bool accumulate;
};
#endif
}  // namespace vretnet::onednn

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

void depthwise_row(const DepthwiseRow& r) {
  const std::int64_t first_x = r.row - r.top;  // the image row under the kernel's row 0
  const std::int64_t u_begin = std::max<std::int64_t>(0, -first_x);
  const std::int64_t u_end = std::min(r.kernel_height, r.height - first_x);
  const std::int64_t taps = r.kernel_height * r.kernel_width;
  // Columns whose kernel lies inside the image.
  const std::int64_t inner_begin = std::clamp<std::int64_t>(r.left, 0, r.width_out);
  const std::int64_t inner_end =
      std::clamp<std::int64_t>(r.width + r.left - r.kernel_width + 1, inner_begin, r.width_out);
  const bool three = taps == 9 && r.kernel_width == 3 && u_begin == 0 && u_end == 3;

  for_vectors(r.channels, [&](auto lanes, std::int64_t c) HWY_ATTR {
    const Vector bias = r.bias ? lanes.load(r.bias + c) : hn::Zero(Floats());
    const auto finish = [&](std::int64_t j, Vector value) HWY_ATTR {
      float* y = r.y + j * r.y_column + c;
      if (r.residual) value = hn::Add(value, lanes.load(r.residual + j * r.residual_column + c));
      if (r.accumulate) value = hn::Add(value, lanes.load(y));
      lanes.store(value, y);
    };
    const auto any_column = [&](std::int64_t j) HWY_ATTR {
      const std::int64_t first = j - r.left;
      const std::int64_t v_begin = std::max<std::int64_t>(0, -first);
      const std::int64_t v_end = std::min(r.kernel_width, r.width - first);
      Vector value = bias;
      for (std::int64_t u = u_begin; u < u_end; ++u) {
        const float* x = r.x + (first_x + u) * r.x_row + c;
        const float* tap = r.taps + u * r.kernel_width * r.tap_stride + c;
        for (std::int64_t v = v_begin; v < v_end; ++v) {
          value =
              hn::MulAdd(lanes.load(x + (first + v) * r.x_column), lanes.load(tap + v * r.tap_stride), value);
        }
      }
      finish(j, value);
    };
    const std::int64_t fast_begin = three ? inner_begin : r.width_out,
                       fast_end = three ? inner_end : r.width_out;
    for (std::int64_t j = 0; j < fast_begin; ++j) any_column(j);
    if (three) {
      const float* tap = r.taps + c;
      const std::int64_t s = r.tap_stride, next = r.x_column;
      const Vector t0 = lanes.load(tap), t1 = lanes.load(tap + s), t2 = lanes.load(tap + 2 * s);
      const Vector t3 = lanes.load(tap + 3 * s), t4 = lanes.load(tap + 4 * s), t5 = lanes.load(tap + 5 * s);
      const Vector t6 = lanes.load(tap + 6 * s), t7 = lanes.load(tap + 7 * s), t8 = lanes.load(tap + 8 * s);
      const float* x0 = r.x + first_x * r.x_row + (fast_begin - r.left) * next + c;
      for (std::int64_t j = fast_begin; j < fast_end; ++j, x0 += next) {
        const float *x1 = x0 + r.x_row, *x2 = x1 + r.x_row;
        // A chain a row of the kernel: three short ones wait less than a long one.
        Vector a = hn::MulAdd(lanes.load(x0), t0, bias);
        Vector b = hn::Mul(lanes.load(x1), t3);
        Vector e = hn::Mul(lanes.load(x2), t6);
        a = hn::MulAdd(lanes.load(x0 + next), t1, a);
        b = hn::MulAdd(lanes.load(x1 + next), t4, b);
        e = hn::MulAdd(lanes.load(x2 + next), t7, e);
        a = hn::MulAdd(lanes.load(x0 + 2 * next), t2, a);
        b = hn::MulAdd(lanes.load(x1 + 2 * next), t5, b);
        e = hn::MulAdd(lanes.load(x2 + 2 * next), t8, e);
        finish(j, hn::Add(hn::Add(a, b), e));
      }
    }
    for (std::int64_t j = fast_end; j < r.width_out; ++j) any_column(j);
  });
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(depthwise_row);
namespace {

constexpr std::int64_t kTapFloats = 8192;  // of a block of channels, on a thread's stack

// Depthwise, or with the kernel turned round.
void depthwise(const ops::Depthwise& op, bool turned) {
  if (op.y.elements() == 0) return;
  const std::int64_t batch = op.y.extent(0), rows = op.y.extent(1), channels = op.y.extent(3);
  const std::int64_t kernel_height = op.weight.extent(2), kernel_width = op.weight.extent(3);
  const std::int64_t taps = kernel_height * kernel_width;
  ensure(taps <= kTapFloats / 16, "a depthwise kernel of {} x {}", kernel_height, kernel_width);
  const std::int64_t block = std::min<std::int64_t>(channels, kTapFloats / taps / 16 * 16);
  const bool empty = op.x.elements() == 0;  // only padding: y is bias and residual
  for_ranges(batch * rows, op.y.extent(2) * channels * 2, [&](Range range) {
    std::array<float, kTapFloats> tap_buffer;
    for (std::int64_t channel = 0; channel < channels; channel += block) {
      const std::int64_t count = std::min(block, channels - channel);
      for (std::int64_t c = 0; c < count; ++c) {
        const float* weight = op.weight.data<float>() + (channel + c) * op.weight.stride(0);
        for (std::int64_t tap = 0; tap < taps; ++tap) {
          const std::int64_t from = turned ? taps - 1 - tap : tap;
          tap_buffer[tap * block + c] =
              weight[from / kernel_width * op.weight.stride(2) + from % kernel_width];
        }
      }
      for (std::int64_t item = range.begin; item < range.end; ++item) {
        const std::int64_t image = item / rows, row = item % rows;
        const auto at = [&](const View& view, std::int64_t r) {
          return view.data<float>() + image * view.stride(0) + r * view.stride(1) + channel;
        };
        HWY_DYNAMIC_DISPATCH(depthwise_row)
        ({.x = empty ? nullptr : at(op.x, 0),
          .x_row = op.x.stride(1),
          .x_column = op.x.stride(2),
          .height = op.x.extent(1),
          .width = op.x.extent(2),
          .taps = tap_buffer.data(),
          .tap_stride = block,
          .kernel_height = kernel_height,
          .kernel_width = kernel_width,
          .bias = op.bias ? op.bias.data<float>() + channel : nullptr,
          .residual = op.residual ? at(op.residual, row) : nullptr,
          .y = at(op.y, row),
          .residual_column = op.residual ? op.residual.stride(2) : 0,
          .y_column = op.y.stride(2),
          .width_out = op.y.extent(2),
          .row = row,
          .top = op.padding.top,
          .left = op.padding.left,
          .channels = count,
          .accumulate = op.write == ops::Write::accumulate});
      }
    }
  });
}

}  // namespace

void run(const ops::Depthwise& op) {
  depthwise(op, false);
}

void run(const ops::DepthwiseInputGradient& op) {
  const std::int64_t kernel_height = op.weight.extent(2), kernel_width = op.weight.extent(3);
  ops::Depthwise forward{
      .x = op.d_y, .weight = op.weight, .residual = op.residual, .y = op.d_x, .write = op.write};
  forward.padding.top = kernel_height - 1 - op.padding.top;
  forward.padding.left = kernel_width - 1 - op.padding.left;
  depthwise(forward, true);
}

}  // namespace vretnet::onednn
#endif  // HWY_ONCE
