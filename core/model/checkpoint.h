// Model files: learned tensors under their names, and what the model is as JSON strings in the metadata
// (`format`, `version`, `model`, `class_names`, `preprocessing`). Says nothing of what the JSON means.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/layers/parameters.h"
#include "core/model/quantized_weights.h"
#include "core/model/safetensors.h"

namespace vretnet::model {

using Metadata = std::map<std::string, std::string>;

// What a model learned: `values` is a flat array of the table's layout. Quantized parameters stand in both;
// their places in `values` hold what the integers stand for.
struct ModelValues {
  std::vector<float> values;
  QuantizedParameters quantized;
};

// Our `format` and `version` are added to the metadata. Of quantized parameters the integers are written.
// Written atomically.
void save_model_file(const std::filesystem::path& path, const Metadata& metadata,
                     const layers::ParameterTable& table, const std::vector<float>& values,
                     const QuantizedParameters& quantized = {});

// True when the file says `format` = vretnet; throws UsageError when it does, but in a version that we cannot
// read.
bool is_our_format(const SafetensorsFile& file);

// All tensors of the table. Throws UsageError naming the file and the tensor when one is missing, has another
// shape or type, holds NaN or Inf, when the file has a tensor that the model has not, and as read_quantized
// does.
ModelValues read_model_values(const SafetensorsFile& file, const layers::ParameterTable& table);

}  // namespace vretnet::model
