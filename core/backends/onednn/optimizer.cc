// The optimizer's passes over flat arrays: SquaredNorm, AdamW, Lerp.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/optimizer.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h:
#include <algorithm>
#include <cmath>

#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/row_kernels-inl.h"
#include "core/backends/onednn/rows.h"
#include "core/ops/workspace.h"

namespace vretnet::onednn {
#ifndef VRETNET_ONEDNN_ADAMW_STEP_
#define VRETNET_ONEDNN_ADAMW_STEP_
// The numbers of one AdamW step, the same for every element.
struct AdamWStep {
  float clip, beta1, beta2, new1, new2, first_scale, second_scale, epsilon, decay;
};
#endif
}  // namespace vretnet::onednn

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

// Floats are summed over blocks, the blocks in double: a hundred million squares keep seven digits.
constexpr std::int64_t kNormBlock = 4096;

double squared_norm(const float* x, std::int64_t n) {
  double total = 0;
  for (std::int64_t i = 0; i < n; i += kNormBlock) total += dot(x + i, x + i, std::min(kNormBlock, n - i));
  return total;
}

void adamw_row(float* parameter, const float* gradient, float* first, float* second, std::int64_t n,
               const AdamWStep& step) {
  const Floats d;
  const Vector clip = hn::Set(d, step.clip), epsilon = hn::Set(d, step.epsilon),
               decay = hn::Set(d, step.decay);
  const Vector beta1 = hn::Set(d, step.beta1), new1 = hn::Set(d, step.new1);
  const Vector beta2 = hn::Set(d, step.beta2), new2 = hn::Set(d, step.new2);
  const Vector first_scale = hn::Set(d, step.first_scale), second_scale = hn::Set(d, step.second_scale);
  for_vectors(n, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const Vector g = hn::Mul(lanes.load(gradient + i), clip);
    const Vector m = hn::MulAdd(lanes.load(first + i), beta1, hn::Mul(g, new1));
    const Vector v = hn::MulAdd(lanes.load(second + i), beta2, hn::Mul(hn::Mul(g, g), new2));
    lanes.store(m, first + i);
    lanes.store(v, second + i);
    const Vector deviation = hn::Add(hn::Mul(hn::Sqrt(v), second_scale), epsilon);
    const Vector old = lanes.load(parameter + i), decayed = hn::NegMulAdd(old, decay, old);
    lanes.store(hn::Sub(decayed, hn::Div(hn::Mul(m, first_scale), lanes.keep_or(deviation, clip))),
                parameter + i);
  });
}

void lerp_row(const float* x, float* y, std::int64_t n, float weight) {
  const Vector weights = hn::Set(Floats(), weight);
  for_vectors(n, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const Vector old = lanes.load(y + i);
    lanes.store(hn::MulAdd(hn::Sub(lanes.load(x + i), old), weights, old), y + i);
  });
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(squared_norm);
HWY_EXPORT(adamw_row);
HWY_EXPORT(lerp_row);
namespace {

View take_partial_sums(ops::Workspace& workspace, const ops::SquaredNorm& op) {
  return workspace.take(DType::f64, {parts_for(op.x.elements())});
}

}  // namespace

std::size_t workspace_bytes(const ops::SquaredNorm& op) {
  ops::Workspace workspace;
  take_partial_sums(workspace, op);
  return workspace.bytes();
}

void run(const ops::SquaredNorm& op) {
  ops::Workspace workspace(op.workspace);
  const View partial = take_partial_sums(workspace, op);
  const std::int64_t elements = op.x.elements();
  const int parts = static_cast<int>(partial.extent(0));
  for_parts(parts, [&](int part) {
    const Range range = part_of(elements, part, parts);
    const std::int64_t count = range.end - range.begin;
    partial.data<double>()[part] =
        count == 0 ? 0.0 : HWY_DYNAMIC_DISPATCH(squared_norm)(op.x.data<float>() + range.begin, count);
  });
  double total = 0;
  for (int part = 0; part < parts; ++part) total += partial.data<double>()[part];
  *op.y.data<float>() = static_cast<float>(total);
}

void run(const ops::AdamW& op) {
  if (op.gradient_squared_norm && !std::isfinite(*op.gradient_squared_norm.data<float>())) return;
  const float* scalars = op.step_scalars.data<float>();
  const double rate = scalars[ops::kLearningRate];
  AdamWStep step{.clip = 1,
                 .beta1 = static_cast<float>(op.beta1),
                 .beta2 = static_cast<float>(op.beta2),
                 .new1 = static_cast<float>(1 - op.beta1),
                 .new2 = static_cast<float>(1 - op.beta2),
                 .epsilon = op.epsilon};
  if (op.max_norm > 0) {
    const double norm = std::sqrt(static_cast<double>(*op.gradient_squared_norm.data<float>()));
    step.clip = static_cast<float>(std::min(1.0, op.max_norm / (norm + 1e-6)));
  }
  step.first_scale = static_cast<float>(rate / scalars[ops::kBiasCorrection1]);
  step.second_scale = static_cast<float>(1 / std::sqrt(static_cast<double>(scalars[ops::kBiasCorrection2])));
  step.decay = static_cast<float>(rate * op.weight_decay);
  const Rows<4> rows({op.parameter, op.gradient, op.first_moment, op.second_moment}, RowAxes::merged);
  rows.for_all_elements(2, [&](const auto& at, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(adamw_row)(at[0], at[1], at[2], at[3], count, step);
  });
}

void run(const ops::Lerp& op) {
  const float weight = op.step_scalars.data<float>()[ops::kEmaWeight];
  Rows<2>({op.y, op.x}, RowAxes::merged).for_all_elements(1, [&](const auto& at, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(lerp_row)(at[1], at[0], count, weight);
  });
}

}  // namespace vretnet::onednn
#endif  // HWY_ONCE
