#include <fmt/format.h>

#include "core/ops/fields.h"
#include "core/ops/ops.h"

namespace vretnet::ops {
namespace {

const char* name(const Gemm&) {
  return "Gemm";
}
const char* name(const Convert&) {
  return "Convert";
}
const char* name(const ColumnSum&) {
  return "ColumnSum";
}
const char* name(const Convolution&) {
  return "Convolution";
}
const char* name(const ConvolutionInputGradient&) {
  return "ConvolutionInputGradient";
}
const char* name(const ConvolutionWeightGradient&) {
  return "ConvolutionWeightGradient";
}
const char* name(const Depthwise&) {
  return "Depthwise";
}
const char* name(const DepthwiseInputGradient&) {
  return "DepthwiseInputGradient";
}
const char* name(const DepthwiseWeightGradient&) {
  return "DepthwiseWeightGradient";
}
const char* name(const Patches&) {
  return "Patches";
}
const char* name(const Add&) {
  return "Add";
}
const char* name(const BroadcastAdd&) {
  return "BroadcastAdd";
}
const char* name(const ScaleSamples&) {
  return "ScaleSamples";
}
const char* name(const Activation&) {
  return "Activation";
}
const char* name(const ActivationGradient&) {
  return "ActivationGradient";
}
const char* name(const Gate&) {
  return "Gate";
}
const char* name(const GateGradient&) {
  return "GateGradient";
}
const char* name(const LayerNorm&) {
  return "LayerNorm";
}
const char* name(const LayerNormGradient&) {
  return "LayerNormGradient";
}
const char* name(const HeadNorm&) {
  return "HeadNorm";
}
const char* name(const HeadNormGradient&) {
  return "HeadNormGradient";
}
const char* name(const Rotate&) {
  return "Rotate";
}
const char* name(const Retention&) {
  return "Retention";
}
const char* name(const RetentionGradient&) {
  return "RetentionGradient";
}
const char* name(const RetentionBlock&) {
  return "RetentionBlock";
}
const char* name(const RetentionBlockGradient&) {
  return "RetentionBlockGradient";
}
const char* name(const Attention&) {
  return "Attention";
}
const char* name(const AttentionGradient&) {
  return "AttentionGradient";
}
const char* name(const PoolTokens&) {
  return "PoolTokens";
}
const char* name(const PoolTokensGradient&) {
  return "PoolTokensGradient";
}
const char* name(const Softmax&) {
  return "Softmax";
}
const char* name(const SoftmaxGradient&) {
  return "SoftmaxGradient";
}
const char* name(const CrossEntropy&) {
  return "CrossEntropy";
}
const char* name(const SquaredNorm&) {
  return "SquaredNorm";
}
const char* name(const AdamW&) {
  return "AdamW";
}
const char* name(const Lerp&) {
  return "Lerp";
}

}  // namespace

const char* name_of(const Op& op) {
  return std::visit([](const auto& each) { return name(each); }, op);
}

std::string label_of(const Op& op) {
  std::string label = name_of(op);
  if (const auto* gemm = std::get_if<Gemm>(&op)) {
    label += ' ';
    for (int axis = 0; axis + 2 < gemm->y.rank(); ++axis) label += fmt::format("{}*", gemm->y.extent(axis));
    label += fmt::format("{}x{}x{}", gemm->y.extent(-2), gemm->y.extent(-1), gemm->a.extent(-1));
    if (gemm->a.stride(-1) != 1) label += " transposed";
    if (gemm->bias) label += " bias";
    if (gemm->activation == ActivationKind::gelu) label += " gelu";
    if (gemm->activation == ActivationKind::silu) label += " silu";
    if (gemm->residual) label += " residual";
    if (gemm->write == Write::accumulate) label += " +=";
    return label;
  }
  bool first = true;
  for_each_field(op, [&](const Field& field) {
    for (int axis = 0; first && axis < field.view.rank(); ++axis) {
      label += fmt::format("{}{}", axis == 0 ? ' ' : 'x', field.view.extent(axis));
    }
    first = false;
  });
  return label;
}

}  // namespace vretnet::ops
