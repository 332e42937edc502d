#include <fmt/format.h>

#include "core/ops/fields.h"
#include "core/ops/ops.h"

namespace vretnet::ops {
namespace {

const char* name(const Gemm&) {
  return "Gemm";
}
const char* name(const QuantizedGemm&) {
  return "QuantizedGemm";
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
const char* name(const DecayPowers&) {
  return "DecayPowers";
}
const char* name(const HeadDot&) {
  return "HeadDot";
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

template <class Product>
std::string label_of_product(const Product& op) {
  std::string label = name(op);
  label += ' ';
  for (int axis = 0; axis + 2 < op.y.rank(); ++axis) label += fmt::format("{}*", op.y.extent(axis));
  label += fmt::format("{}x{}x{}", op.y.extent(-2), op.y.extent(-1), op.a.extent(-1));
  if (op.a.stride(-1) != 1) label += " transposed";
  if (op.bias) label += " bias";
  if (op.activation == ActivationKind::gelu) label += " gelu";
  if (op.activation == ActivationKind::silu) label += " silu";
  if (op.residual) label += " residual";
  return label;
}

}  // namespace

const char* name_of(const Op& op) {
  return std::visit([](const auto& each) { return name(each); }, op);
}

std::string label_of(const Op& op) {
  if (const auto* gemm = std::get_if<Gemm>(&op)) {
    return label_of_product(*gemm) + (gemm->write == Write::accumulate ? " +=" : "");
  }
  if (const auto* quantized = std::get_if<QuantizedGemm>(&op)) return label_of_product(*quantized);
  std::string label = name_of(op);
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
