// The models that have a name.
#pragma once

#include <string>
#include <vector>

#include "vision/model_config.h"

namespace vretnet::vision {

// All names: RetNets from small to large, then their ViT twins.
std::vector<std::string> model_names();

// Throws UsageError with the nearest name when there is no such model.
ModelConfig find_model_config(const std::string& name);

}  // namespace vretnet::vision
