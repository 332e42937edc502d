#include "core/ops/cost.h"

#include <algorithm>

#include "core/ops/fields.h"

namespace vretnet::ops {
namespace {

double elements(const View& view) {
  return static_cast<double>(view.elements());
}
double extent(const View& view, int axis) {
  return static_cast<double>(view.extent(axis));
}

// Operations per element of the ops that are bound by memory: what their formulas count, functions as 8.
constexpr double kFunction = 8;

double cost(const Gemm& op) {
  double per_element = 2 * extent(op.a, -1);
  if (op.bias) per_element += 1;
  if (op.residual) per_element += 1;
  if (op.activation != ActivationKind::none) per_element += kFunction;
  return per_element * elements(op.y);
}
double cost(const QuantizedGemm& op) {
  double per_element = 2 * extent(op.a, -1) + 1;
  if (op.bias) per_element += 1;
  if (op.residual) per_element += 1;
  if (op.activation != ActivationKind::none) per_element += kFunction;
  return per_element * elements(op.y) + 2 * elements(op.a);
}
double cost(const Convert&) {
  return 0;
}
double cost(const ColumnSum& op) {
  return elements(op.x);
}

double products(const View& weight, const View& y) {
  return elements(y) * static_cast<double>(weight.extent(1) * weight.extent(2) * weight.extent(3));
}
double cost(const Convolution& op) {
  return 2 * products(op.weight, op.y);
}
double cost(const ConvolutionInputGradient& op) {
  return 2 * products(op.weight, op.d_y);
}
double cost(const ConvolutionWeightGradient& op) {
  return 2 * products(op.d_weight, op.d_y);
}
double cost(const Depthwise& op) {
  return 2 * products(op.weight, op.y);
}
double cost(const DepthwiseInputGradient& op) {
  return 2 * products(op.weight, op.d_y);
}
double cost(const DepthwiseWeightGradient& op) {
  return 2 * products(op.d_weight, op.d_y);
}
double cost(const Patches&) {
  return 0;
}
double cost(const Add& op) {
  return elements(op.y);
}
double cost(const BroadcastAdd& op) {
  return elements(op.y);
}
double cost(const ScaleSamples& op) {
  return (op.residual ? 2 : 1) * elements(op.y);
}
double cost(const Activation& op) {
  return kFunction * elements(op.x);
}
double cost(const ActivationGradient& op) {
  return (op.y ? 3 : 2) * kFunction * elements(op.x);
}
double cost(const Gate& op) {
  return (kFunction + 2) * elements(op.x);
}
double cost(const GateGradient& op) {
  return (2 * kFunction + 4) * elements(op.x);
}
double cost(const LayerNorm& op) {
  return 8 * elements(op.x);
}
double cost(const LayerNormGradient& op) {
  return 16 * elements(op.x);
}
double cost(const HeadNorm& op) {
  return 6 * elements(op.x);
}
double cost(const HeadNormGradient& op) {
  return 14 * elements(op.x);
}
double cost(const Rotate& op) {
  return 4 * elements(op.x);
}

// One product of the family Ret(A, B, C; D) over all heads of the batch.
double retention_cost(const View& q, const View& v, const RetentionPattern& pattern) {
  const double tokens = extent(q, 1), heads = extent(q, 0) * extent(q, 2), d_k = extent(q, 3),
               d_v = extent(v, 3);
  const double directions = pattern.bidirectional ? 2 : 1;
  switch (pattern.form) {
    case RetentionForm::parallel:
      return heads * 2 * tokens * tokens * (d_k + d_v);
    case RetentionForm::chunkwise: {
      const double chunk = std::min(static_cast<double>(pattern.chunk), tokens);
      return heads * 2 * tokens * (chunk * (d_k + d_v) + directions * 2 * d_k * d_v);
    }
    default:
      return heads * directions * 5 * tokens * d_k * d_v;
  }
}
double cost(const Retention& op) {
  return retention_cost(op.q, op.v, op.pattern);
}
double cost(const RetentionGradient& op) {
  return 3 * retention_cost(op.q, op.v, op.pattern);
}
double cost(const RetentionBlock& op) {
  return retention_cost(op.q, op.v, op.pattern) + (op.cosine ? 8 * elements(op.q) : 0) + 6 * elements(op.v) +
         (op.g ? (kFunction + 2) * elements(op.g) : 0);
}
double cost(const RetentionBlockGradient& op) {  // the retention runs once more, then its gradient
  const double of_decays =
      op.d_log_rate ? retention_cost(op.q, op.v, {.form = RetentionForm::parallel}) + 2 * elements(op.v) : 0;
  return 4 * retention_cost(op.q, op.v, op.pattern) + (op.cosine ? 16 * elements(op.q) : 0) +
         20 * elements(op.v) + (op.g ? (3 * kFunction + 6) * elements(op.g) : 0) + of_decays;
}
double cost(const DecayPowers& op) {
  return (kFunction + 1) * elements(op.y);
}
double cost(const HeadDot& op) {
  return 2 * elements(op.a);
}
double cost(const Attention& op) {
  return 2 * (2 * extent(op.k, 1) + 1) * elements(op.q);
}
double cost(const AttentionGradient& op) {
  return 5 * 2 * extent(op.k, 1) * elements(op.q);
}
double cost(const PoolTokens& op) {
  return op.kind == PoolKind::mean ? elements(op.x) : 0;
}
double cost(const PoolTokensGradient& op) {
  return op.kind == PoolKind::mean ? elements(op.d_x) : 0;
}
double cost(const Softmax& op) {
  return (2 * kFunction + 3) * elements(op.x);
}
double cost(const SoftmaxGradient& op) {
  return 4 * elements(op.y);
}
double cost(const CrossEntropy& op) {
  return (2 * kFunction + 6) * elements(op.logits);
}
double cost(const SquaredNorm& op) {
  return 2 * elements(op.x);
}
double cost(const AdamW& op) {
  return 16 * elements(op.parameter);
}
double cost(const Lerp& op) {
  return 3 * elements(op.y);
}

double bytes_touched(const View& view) {
  double count = static_cast<double>(bytes_of(view.dtype()));
  for (int axis = 0; axis < view.rank(); ++axis) {
    if (view.stride(axis) != 0) count *= extent(view, axis);
  }
  return count;
}

}  // namespace

double flops(const Op& op) {
  return std::visit([](const auto& each) { return cost(each); }, op);
}

double bytes(const Op& op) {
  double total = 0;
  for_each_field(op, [&](const Field& field) {
    if (field.view) total += bytes_touched(field.view) * (field.use == Use::update ? 2 : 1);
  });
  return total;
}

}  // namespace vretnet::ops
