#include "tools/trained_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/error.h"
#include "tools/recipe.h"
#include "vision/registry.h"
#include "vision/transfer.h"

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

std::string ImageSizeFlags::given() const {
  return !image_size.empty() ? "--img-size" : !base_grid.empty() ? "--base-grid" : "";
}

void add_image_size_flags(CLI::App& app, ImageSizeFlags& flags) {
  app.add_option("--img-size,--imgsz", flags.image_size,
                 "pixels that images are resized to: 224, or HEIGHTxWIDTH (default: the model's)");
  app.add_option(
      "--base-grid", flags.base_grid,
      "ROWSxCOLUMNS of patches that decays and rotations are stretched from (default: the model's)");
}

vision::Classifier load_trained(const std::string& model, const std::string& command,
                                const ImageSizeFlags& flags) {
  vision::Classifier classifier = load_trained(model, command);
  if (flags.given().empty()) return classifier;
  vision::ModelConfig config = classifier.description.config;
  if (!flags.image_size.empty()) set_image_size(config, flags.image_size);
  if (!flags.base_grid.empty()) set_base_grid(config, flags.base_grid);
  vision::keep_base_grid(config, classifier.description.config);
  vision::validate(config, fmt::format("{} at {} {}", model, flags.given(),
                                       flags.image_size.empty() ? flags.base_grid : flags.image_size));
  return vision::at_image_size(std::move(classifier), config);
}

}  // namespace vretnet::tools
