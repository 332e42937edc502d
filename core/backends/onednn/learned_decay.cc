// DecayPowers and HeadDot: the tables of decays that are learned, and the sum that their gradient ends in.
#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/learned_decay.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h:
#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/row_kernels-inl.h"
#include "core/backends/onednn/rows.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

void power_row(const float* exponents, float rate, bool derivative, float* y, std::int64_t n) {
  const Vector rates = hn::Set(Floats(), rate),
               largest = hn::Set(Floats(), std::numeric_limits<float>::max());
  for_vectors(n, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const Vector product = hn::Mul(lanes.load(exponents + i), rates);
    const Vector x = hn::IfThenElse(hn::Gt(product, largest), largest, product);
    const Vector power = hn::Exp(Floats(), hn::Neg(x));
    lanes.store(derivative ? hn::Neg(hn::Mul(x, power)) : power, y + i);
  });
}

// Σ a·b of one head over the tokens of an image.
float head_dot(const Rows<2>& rows, Range range) {
  float sum = 0;
  rows.for_each(range,
                [&](std::int64_t, const auto& at) HWY_ATTR { sum += dot(at[0], at[1], rows.width()); });
  return sum;
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(power_row);
HWY_EXPORT(head_dot);
namespace {

// Elements of copying that a power costs: when to share out the work.
constexpr std::int64_t kPowerCost = 4;

}  // namespace

void run(const ops::DecayPowers& op) {
  if (op.y.elements() == 0) return;
  const auto* exponents = op.exponents.data<float>();
  const auto* log_rate = op.log_rate.data<float>();
  auto* y = op.y.data<float>();
  const std::int64_t n = op.y.extent(1);
  for_ranges(op.y.extent(0), kPowerCost * n, [&](Range range) {
    for (std::int64_t h = range.begin; h < range.end; ++h) {
      const double rate =
          std::clamp<double>(std::exp(static_cast<double>(log_rate[h * op.log_rate.stride(0)])),
                             std::numeric_limits<float>::min(), std::numeric_limits<float>::max());
      HWY_DYNAMIC_DISPATCH(power_row)
      (exponents, static_cast<float>(rate), op.derivative, y + h * op.y.stride(0), n);
    }
  });
}

// A head a thread, an image after the other: equal bits for any number of threads.
void run(const ops::HeadDot& op) {
  if (op.a.elements() == 0) return;
  const std::int64_t images = op.a.extent(0), tokens = op.a.extent(1);
  for_ranges(op.a.extent(2), images * tokens * op.a.extent(3), [&](Range range) {
    for (std::int64_t h = range.begin; h < range.end; ++h) {
      const Rows<2> rows({op.a.select(2, h), op.b.select(2, h)}, RowAxes::innermost);
      float sum = 0;
      for (std::int64_t image = 0; image < images; ++image) {
        sum += HWY_DYNAMIC_DISPATCH(head_dot)(rows, Range{image * tokens, (image + 1) * tokens});
      }
      op.y.data<float>()[h * op.y.stride(0)] += sum;
    }
  });
}

}  // namespace vretnet::onednn
#endif  // HWY_ONCE
