#include "core/model/bound_weights.h"

#include "core/model/weights.h"

namespace vretnet::model {

BoundWeights::BoundWeights(Backend& backend, const layers::ParameterTable& table,
                           const std::vector<float>& values, const QuantizedParameters& quantized)
    : values_(backend, DType::f32, {table.elements()}) {
  upload_values(backend, values_.view(), values);
  if (!quantized.empty()) quantized_.emplace(backend, table, quantized);
}

layers::Pass::Options BoundWeights::with(layers::Pass::Options options) const {
  options.quantized = quantized_ ? &quantized_->layers() : nullptr;
  return options;
}

}  // namespace vretnet::model
