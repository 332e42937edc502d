// vretnet info, vretnet models
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <set>

#include "core/base/error.h"
#include "tools/command.h"
#include "tools/json_text.h"
#include "tools/model_size.h"
#include "tools/recipe.h"
#include "tools/terminal.h"
#include "vision/model_file.h"
#include "vision/registry.h"

namespace vretnet::tools {
namespace {

using json = nlohmann::ordered_json;

struct InfoFlags {
  std::string model, format = "text";
  bool layers = false;
  std::map<std::string, std::string> overrides;
};

std::string precision_text(const layers::ParameterTable& table, const std::set<std::string>& integers) {
  std::int64_t elements = 0;
  for (const std::string& name : integers) elements += table.find(name)->shape.elements();
  return fmt::format("int8: {} weights, {:.0f} % of the parameters", integers.size(),
                     100 * static_cast<double>(elements) / static_cast<double>(table.count()));
}

int show_info(const InfoFlags& flags) {
  vision::Description description;
  std::unique_ptr<vision::VisionModel> model;
  std::set<std::string> integers;  // names of tensors that are s8
  const bool from_file = vision::names_model_file(flags.model);
  if (from_file) {
    if (const std::string flag = overriding_flag(flags.overrides); !flag.empty()) {
      throw UsageError(fmt::format(
          "{}: '{}' is a model file and stays as it is; a model's name can be changed", flag, flags.model));
    }
    vision::Classifier classifier = vision::load_classifier(flags.model);  // weights are checked, too
    description = std::move(classifier.description);
    model = std::move(classifier.model);
    for (const auto& [id, parameter] : classifier.quantized) {
      for (const layers::NamedTensor& tensor : model->parameters().parts(id)) integers.insert(tensor.name);
    }
  } else {
    description.config = vision::find_model_config(flags.model);
    apply_overrides(description.config, flags.overrides);
    validate_overridden(description.config, flags.overrides);
    description.preprocessing = vision::default_preprocessing(description.config);
    model = vision::make_model(description.config);
  }
  const double flops = forward_flops(*model);
  const std::int64_t parameters = model->parameters().count();
  const std::string reason = model->why_not_streamable();

  if (flags.format == "json") {
    json report = {{"model", json::parse(vision::to_json(description.config))},
                   {"parameters", parameters},
                   {"flops_per_image", flops},
                   {"tokens", description.config.tokens()},
                   {"streams", reason.empty()},
                   {"precision", integers.empty() ? "f32" : "int8"},
                   {"preprocessing", json::parse(vision::to_json(description.preprocessing))},
                   {"class_names", description.class_names}};
    if (flags.layers) {
      report["tensors"] = json::array();
      for (const layers::NamedTensor& tensor : model->parameters().tensors()) {
        json shape = json::array();
        for (int axis = 0; axis < tensor.shape.rank(); ++axis) shape.push_back(tensor.shape[axis]);
        report["tensors"].push_back(json{{"name", tensor.name},
                                         {"shape", shape},
                                         {"weight_decay", tensor.decays},
                                         {"dtype", integers.contains(tensor.name) ? "s8" : "f32"}});
      }
    }
    print(json_text(report) + "\n");
    return 0;
  }
  print(fmt::format("{}\n", flags.model));
  for (const std::string& key : vision::config_keys()) {
    print(fmt::format("  {:<18} {}\n", key, vision::config_value(description.config, key)));
  }
  print(fmt::format("  {:<18} {}\n", "preprocessing", vision::to_json(description.preprocessing)));
  print(fmt::format("  {:<18} {} ({})\n", "parameters", parameters,
                    count_text(static_cast<double>(parameters))));
  if (!integers.empty()) {
    print(fmt::format("  {:<18} {}\n", "precision", precision_text(model->parameters(), integers)));
  }
  print(fmt::format("  {:<18} {}FLOP\n", "one image", count_text(flops)));
  print(fmt::format("  {:<18} {}\n", "tokens", description.config.tokens()));
  print(fmt::format("  {:<18} {}\n", "streams by row", reason.empty() ? "yes" : "no: " + reason));
  if (!description.class_names.empty()) {
    print(fmt::format("  {:<18} {}\n", "class names", fmt::join(description.class_names, ", ")));
  }
  if (flags.layers) {
    for (const layers::NamedTensor& tensor : model->parameters().tensors()) {
      print(fmt::format("  {:<44} {:<20} {:<10} {}\n", tensor.name, tensor.shape.text(),
                        tensor.shape.elements(), integers.contains(tensor.name) ? "s8" : "f32"));
    }
  }
  return 0;
}

int list_models(const std::string& format) {
  json list = json::array();
  if (format == "text") print("model                          parameters   one image  tokens  reads\n");
  for (const std::string& name : vision::model_names()) {
    const vision::ModelConfig config = vision::find_model_config(name);
    const auto model = vision::make_model(config);
    const double flops = forward_flops(*model);
    const auto parameters = model->parameters().count();
    const std::string input =
        fmt::format("{}x{}x{}", config.image_size[0], config.image_size[1], config.in_chans);
    if (format == "json") {
      list.push_back(json{{"name", name},
                          {"parameters", parameters},
                          {"flops_per_image", flops},
                          {"tokens", config.tokens()},
                          {"image_size", config.image_size},
                          {"in_chans", config.in_chans}});
    } else {
      print(fmt::format("{:<30} {:>10}  {:>6}FLOP  {:>6}  {}\n", name,
                        count_text(static_cast<double>(parameters)), count_text(flops), config.tokens(),
                        input));
    }
  }
  if (format == "json") print(list.dump() + "\n");
  return 0;
}

}  // namespace

Command info_command() {
  return {"info", "what a model or a model file is: shape, parameters, FLOPs", [](CLI::App& app) -> Work {
            auto flags = std::make_shared<InfoFlags>();
            app.add_option("model,-m,--model,--checkpoint", flags->model, "a model's name or a model file")
                ->required();
            app.add_flag("--layers", flags->layers, "every tensor with its shape");
            app.add_option("--format", flags->format, "text or json")->check(CLI::IsMember({"text", "json"}));
            add_model_override_flags(app, flags->overrides);
            add_output_flags(app);
            return [flags] { return show_info(*flags); };
          }};
}

Command models_command() {
  return {"models", "the models that have a name", [](CLI::App& app) -> Work {
            auto format = std::make_shared<std::string>("text");
            app.add_option("--format", *format, "text or json")->check(CLI::IsMember({"text", "json"}));
            add_output_flags(app);
            return [format] { return list_models(*format); };
          }};
}

}  // namespace vretnet::tools
