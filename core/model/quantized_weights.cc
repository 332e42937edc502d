#include "core/model/quantized_weights.h"

#include <algorithm>
#include <cmath>

#include "core/base/ensure.h"

namespace vretnet::model {
namespace {

constexpr float kLargest = 127;

template <class Number>
const Allocation& copy_of(const std::vector<Number>& values, DType dtype, const Shape& shape,
                          Backend& backend, std::vector<Allocation>& memory) {
  ensure(static_cast<std::int64_t>(values.size()) == shape.elements(), "{} numbers for {}", values.size(),
         shape.text());
  memory.emplace_back(backend, dtype, shape);
  backend.upload(memory.back().view(), values.data());
  return memory.back();
}

}  // namespace

bool is_quantizable(const layers::ParameterTable& table, layers::ParameterId id) {
  const Shape& shape = table.shape(id);
  return shape.rank() == 2 && shape[1] >= 1 && shape[1] <= ops::kLargestQuantizedDepth &&
         table.parts(id).front().name.ends_with(".weight");
}

QuantizedParameter quantize(std::span<const float> values, std::int64_t out, float input_scale) {
  const auto rows = static_cast<std::size_t>(out);
  ensure(rows > 0 && values.size() % rows == 0, "{} weights in {} rows", values.size(), rows);
  const std::size_t in = values.size() / rows;
  QuantizedParameter parameter{.input_scale = input_scale};
  parameter.weight.reserve(values.size());
  for (std::size_t row = 0; row < rows; ++row) {
    const std::span<const float> weights = values.subspan(row * in, in);
    float largest = 0;
    for (const float weight : weights) largest = std::max(largest, std::abs(weight));
    // A row so small that its scale is no normal number counts as zeros.
    float scale = largest / kLargest;
    if (!std::isnormal(scale)) scale = 1;
    parameter.weight_scale.push_back(scale);
    for (const float weight : weights) {
      const float cut = std::clamp(weight / scale, -kLargest, kLargest);
      parameter.weight.push_back(static_cast<std::int8_t>(std::nearbyint(cut)));
    }
  }
  return parameter;
}

void dequantize(const QuantizedParameters& parameters, const layers::ParameterTable& table,
                std::vector<float>& values) {
  for (const auto& [id, parameter] : parameters) {
    const std::size_t in = parameter.weight.size() / parameter.weight_scale.size();
    float* to = values.data() + table.parts(id).front().offset;
    for (std::size_t i = 0; i < parameter.weight.size(); ++i) {
      to[i] = parameter.weight_scale[i / in] * static_cast<float>(parameter.weight[i]);
    }
  }
}

QuantizedWeights::QuantizedWeights(Backend& backend, const layers::ParameterTable& table,
                                   const QuantizedParameters& parameters) {
  for (const auto& [id, parameter] : parameters) {
    const Shape& shape = table.shape(id);
    layers::QuantizedLinear& linear = layers_[id];
    linear.weight = copy_of(parameter.weight, DType::s8, shape, backend, memory_).view();
    linear.weight_scale = copy_of(parameter.weight_scale, DType::f32, {shape[0]}, backend, memory_).view();
    const std::vector<float> input_scale{parameter.input_scale};
    linear.input_scale = copy_of(input_scale, DType::f32, {1}, backend, memory_).view();
  }
  backend.weights_changed();
}

}  // namespace vretnet::model
