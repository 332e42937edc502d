// HeadNorm and its gradient: short rows, one a token and head.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/head_norm.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h:
#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/row_kernels-inl.h"
#include "core/backends/onednn/rows.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

void head_norm_rows(const Rows<2>& rows, Range range, float epsilon, bool centred) {
  rows.for_each(range, [&](std::int64_t, const auto& at) HWY_ATTR {
    const float* x = at[1];
    float* y = at[0];
    const Statistics s = statistics(x, rows.width(), epsilon, centred);
    const Vector centre = hn::Set(Floats(), s.mean), scale = hn::Set(Floats(), s.inverse_deviation);
    for_vectors(rows.width(), [&](auto lanes, std::int64_t i) HWY_ATTR {
      lanes.store(hn::Mul(hn::Sub(lanes.load(x + i), centre), scale), y + i);
    });
  });
}

// d_x = (d_y − mean(d_y) − x̂·mean(d_y·x̂)) / deviation; not centred: without mean(d_y).
void head_norm_gradient_rows(const Rows<3>& rows, Range range, float epsilon, bool centred) {
  rows.for_each(range, [&](std::int64_t, const auto& at) HWY_ATTR {
    const float *x = at[1], *d_y = at[2];
    float* d_x = at[0];
    const std::int64_t n = rows.width();
    const Statistics s = statistics(x, n, epsilon, centred);
    const Vector centre = hn::Set(Floats(), s.mean), scale = hn::Set(Floats(), s.inverse_deviation);
    const float projection =
        sum_vectors(n,
                    [&](auto lanes, std::int64_t i) HWY_ATTR {
                      return hn::Mul(hn::Mul(hn::Sub(lanes.load(x + i), centre), scale), lanes.load(d_y + i));
                    }) /
        static_cast<float>(n);
    const Vector along_one = hn::Set(Floats(), centred ? sum(d_y, n) / static_cast<float>(n) : 0.0f);
    const Vector along_x = hn::Set(Floats(), projection);
    for_vectors(n, [&](auto lanes, std::int64_t i) HWY_ATTR {
      const Vector normalised = hn::Mul(hn::Sub(lanes.load(x + i), centre), scale);
      const Vector inner = hn::NegMulAdd(normalised, along_x, hn::Sub(lanes.load(d_y + i), along_one));
      lanes.store(hn::Mul(inner, scale), d_x + i);
    });
  });
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(head_norm_rows);
HWY_EXPORT(head_norm_gradient_rows);

void run(const ops::HeadNorm& op) {
  const Rows<2> rows({op.y, op.x}, RowAxes::innermost);
  for_ranges(rows.rows(), rows.width(), [&](Range range) {
    HWY_DYNAMIC_DISPATCH(head_norm_rows)(rows, range, op.epsilon, op.kind == ops::HeadNormKind::layer);
  });
}

void run(const ops::HeadNormGradient& op) {
  const Rows<3> rows({op.d_x, op.x, op.d_y}, RowAxes::innermost);
  for_ranges(rows.rows(), rows.width(), [&](Range range) {
    HWY_DYNAMIC_DISPATCH(head_norm_gradient_rows)
    (rows, range, op.epsilon, op.kind == ops::HeadNormKind::layer);
  });
}

}  // namespace vretnet::onednn
#endif  // HWY_ONCE
