// Softmax and its gradient: a row at a time, which stays in the first cache between its passes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/softmax.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h:
#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/row_kernels-inl.h"
#include "core/backends/onednn/rows.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

void softmax_row(const float* x, float* y, std::int64_t n) {
  const Floats d;
  const Vector most = hn::Set(d, largest(x, n));
  const float total = sum_vectors(n, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const Vector e = hn::Exp(d, hn::Sub(lanes.load(x + i), most));
    lanes.store(e, y + i);
    return e;
  });
  const Vector divisor = hn::Set(d, total);
  for_vectors(n, [&](auto lanes, std::int64_t i)
                     HWY_ATTR { lanes.store(hn::Div(lanes.load(y + i), divisor), y + i); });
}

void softmax_gradient_row(const float* y, const float* d_y, float* d_x, std::int64_t n) {
  const Vector mean = hn::Set(Floats(), dot(y, d_y, n));
  for_vectors(n, [&](auto lanes, std::int64_t i) HWY_ATTR {
    lanes.store(hn::Mul(lanes.load(y + i), hn::Sub(lanes.load(d_y + i), mean)), d_x + i);
  });
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(softmax_row);
HWY_EXPORT(softmax_gradient_row);

void run(const ops::Softmax& op) {
  if (op.x.elements() == 0) return;
  const Rows<2> rows({op.y, op.x}, RowAxes::innermost);
  for_ranges(rows.rows(), 4 * rows.width(), [&](Range range) {
    rows.for_each(range, [&](std::int64_t, const auto& at) {
      HWY_DYNAMIC_DISPATCH(softmax_row)(at[1], at[0], rows.width());
    });
  });
}

void run(const ops::SoftmaxGradient& op) {
  if (op.y.elements() == 0) return;
  const Rows<3> rows({op.d_x, op.y, op.d_y}, RowAxes::innermost);
  for_ranges(rows.rows(), 2 * rows.width(), [&](Range range) {
    rows.for_each(range, [&](std::int64_t, const auto& at) {
      HWY_DYNAMIC_DISPATCH(softmax_gradient_row)(at[1], at[2], at[0], rows.width());
    });
  });
}

}  // namespace vretnet::onednn
#endif  // HWY_ONCE
