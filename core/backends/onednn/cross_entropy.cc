// CrossEntropy: a row of logits at a time, its exponentials made twice rather than stored.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/cross_entropy.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h:
#include <algorithm>
#include <cmath>

#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/row_kernels-inl.h"
#include "core/backends/onednn/rows.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

// Returns the loss of one image. class_weight and d_logits may be null.
float cross_entropy_row(const float* logits, const float* targets, const float* class_weight, float* d_logits,
                        std::int64_t classes, float smoothing, float gradient_scale) {
  const Floats d;
  const Vector most = hn::Set(d, largest(logits, classes));
  const auto exponential = [&](auto lanes, std::int64_t c)
                               HWY_ATTR { return hn::Exp(d, hn::Sub(lanes.load(logits + c), most)); };
  const float total = sum_vectors(classes, exponential);
  const Vector log_total = hn::Set(d, std::log(total));
  const Vector keep = hn::Set(d, 1 - smoothing);
  const Vector spread =
      hn::Set(d, smoothing == 0 ? 0.0f : smoothing * sum(targets, classes) / static_cast<float>(classes));
  const auto weighted_target = [&](auto lanes, std::int64_t c) HWY_ATTR {
    const Vector target = hn::MulAdd(lanes.load(targets + c), keep, spread);
    return class_weight ? hn::Mul(target, lanes.load(class_weight + c)) : target;
  };
  if (d_logits) {
    const float weight = sum_vectors(classes, weighted_target);
    const Vector probability_scale = hn::Set(d, weight / total), scale = hn::Set(d, gradient_scale);
    for_vectors(classes, [&](auto lanes, std::int64_t c) HWY_ATTR {
      const Vector expected = hn::Mul(exponential(lanes, c), probability_scale);
      lanes.store(hn::Mul(hn::Sub(expected, weighted_target(lanes, c)), scale), d_logits + c);
    });
  }
  return sum_vectors(classes, [&](auto lanes, std::int64_t c) HWY_ATTR {
    const Vector surprise = hn::Sub(log_total, hn::Sub(lanes.load(logits + c), most));
    return hn::Mul(weighted_target(lanes, c), surprise);
  });
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(cross_entropy_row);

void run(const ops::CrossEntropy& op) {
  if (op.logits.elements() == 0) return;
  const Rows<3> rows({op.logits, op.targets, op.d_logits}, RowAxes::innermost);
  const float* class_weight = op.class_weight ? op.class_weight.data<float>() : nullptr;
  float* loss = op.loss.data<float>();
  for_ranges(rows.rows(), 4 * rows.width(), [&](Range range) {
    rows.for_each(range, [&](std::int64_t row, const auto& at) {
      loss[row] = HWY_DYNAMIC_DISPATCH(cross_entropy_row)(at[0], at[1], class_weight, at[2], rows.width(),
                                                          op.smoothing, op.gradient_scale);
      if (at[2] != nullptr && !std::isfinite(loss[row])) {
        std::fill_n(at[2], rows.width(), std::numeric_limits<float>::quiet_NaN());
      }
    });
  });
}

}  // namespace vretnet::onednn
#endif  // HWY_ONCE
