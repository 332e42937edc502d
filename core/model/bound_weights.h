// A model's weights on a backend, ready for a Session.
#pragma once

#include <optional>
#include <vector>

#include "core/layers/pass.h"
#include "core/model/quantized_weights.h"

namespace vretnet::model {

class BoundWeights {
 public:
  // values: flat, laid out by the table. The layers of `quantized` run on integers.
  BoundWeights(Backend& backend, const layers::ParameterTable& table, const std::vector<float>& values,
               const QuantizedParameters& quantized = {});

  const View& view() const { return values_.view(); }
  // The options of a pass over these weights, which must outlive it.
  layers::Pass::Options with(layers::Pass::Options options) const;

 private:
  Allocation values_;
  std::optional<QuantizedWeights> quantized_;
};

}  // namespace vretnet::model
