#include "tools/trained_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/error.h"
#include "vision/registry.h"

namespace vretnet::tools {

vision::Classifier load_trained(const std::string& model, const std::string& command) {
  const std::vector<std::string> names = vision::model_names();
  if (!vision::names_model_file(model) && std::find(names.begin(), names.end(), model) != names.end()) {
    throw UsageError(
        fmt::format("--model: '{}' is a model's name; {} needs a trained file, such as "
                    "runs/train-1/best.safetensors",
                    model, command));
  }
  return vision::load_classifier(model);
}

}  // namespace vretnet::tools
