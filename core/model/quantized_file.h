// Quantized weights in model files: `NAME.weight` I8 [out, in], `NAME.weight_scale` F32 [out],
// `NAME.input_scale` F32 [1]. Part of reading and writing a checkpoint (checkpoint.h).
#pragma once

#include <string>
#include <vector>

#include "core/model/quantized_weights.h"
#include "core/model/safetensors.h"

namespace vretnet::model {

// The parameters whose tensors are I8 or have scales. Throws UsageError naming the file and the tensor where
// a layer that has no integers gets some, a shape or a type is another, a scale is missing or not a normal
// number above 0, or the tensors of one parameter (Q, K, V, G) differ in whether they are integers or in
// their input_scale.
QuantizedParameters read_quantized(const SafetensorsFile& file, const layers::ParameterTable& table);

// The names that such parameters add to a file: their scales.
std::vector<std::string> scale_names(const QuantizedParameters& parameters,
                                     const layers::ParameterTable& table);

// The tensors of one parameter as they stand in a file; they point into it.
void append_quantized(const QuantizedParameter& parameter, const layers::ParameterTable& table,
                      layers::ParameterId id, std::vector<TensorToWrite>& tensors);

}  // namespace vretnet::model
