// Weights of linear layers as 8-bit integers: per output channel, symmetric; one scale for all inputs of a
// layer.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "core/layers/quantized.h"
#include "core/ops/backend.h"

namespace vretnet::model {

// A parameter [out, in] on the host: weight_scale[o] · weight[o, i], row-major. Scales are above 0.
struct QuantizedParameter {
  std::vector<std::int8_t> weight;
  std::vector<float> weight_scale;
  float input_scale = 1;
};
using QuantizedParameters = std::map<layers::ParameterId, QuantizedParameter>;

// Whether a linear layer may hold this parameter as integers: a matrix [out, in] called "….weight".
bool is_quantizable(const layers::ParameterTable& table, layers::ParameterId id);

// values [out, in] in integers of −127 … 127, each row under its own scale, max|row| / 127 (1 for a row of
// zeros): no weight is off by more than half a scale.
QuantizedParameter quantize(std::span<const float> values, std::int64_t out, float input_scale);

// What the integers stand for, written to their places in a flat array of the table's layout.
void dequantize(const QuantizedParameters& parameters, const layers::ParameterTable& table,
                std::vector<float>& values);

// Copies on a backend, for Pass::Options::quantized.
class QuantizedWeights {
 public:
  QuantizedWeights(Backend& backend, const layers::ParameterTable& table,
                   const QuantizedParameters& parameters);
  const layers::QuantizedLayers& layers() const { return layers_; }

 private:
  std::vector<Allocation> memory_;
  layers::QuantizedLayers layers_;
};

}  // namespace vretnet::model
