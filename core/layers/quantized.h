// Linear layers whose weights are 8-bit integers (ops::QuantizedGemm).
#pragma once

#include <map>

#include "core/layers/parameters.h"

namespace vretnet::layers {

// Of a parameter [out, in]: weight s8 [out, in], weight_scale f32 [out], input_scale f32 [1], on a backend.
// The parameter is weight_scale[o] · weight[o, i]; inputs are rounded to multiples of input_scale.
struct QuantizedLinear {
  View weight, weight_scale, input_scale;
};
// The other parameters keep their floating-point values.
using QuantizedLayers = std::map<ParameterId, QuantizedLinear>;

}  // namespace vretnet::layers
