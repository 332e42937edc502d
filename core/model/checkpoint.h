// Model files: learned tensors under their names, and what the model is as JSON strings in the metadata
// (`format`, `version`, `model`, `class_names`, `preprocessing`). Says nothing of what the JSON means.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/layers/parameters.h"
#include "core/model/safetensors.h"

namespace vretnet::model {

using Metadata = std::map<std::string, std::string>;

// Our `format` and `version` are added to the metadata. `values` is a flat array of the table's layout.
// Written atomically.
void save_model_file(const std::filesystem::path& path, const Metadata& metadata,
                     const layers::ParameterTable& table, const std::vector<float>& values);

// True when the file says `format` = vretnet; throws UsageError when it does, but in a version that we cannot
// read.
bool is_our_format(const SafetensorsFile& file);

// The flat array of all tensors of the table. Throws UsageError naming the file and the tensor when one is
// missing, has another shape or type, holds NaN or Inf, or when the file has a tensor that the model has not.
std::vector<float> read_model_values(const SafetensorsFile& file, const layers::ParameterTable& table);

}  // namespace vretnet::model
