#include "vision/model_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/base/did_you_mean.h"
#include "core/base/error.h"
#include "vision/timm.h"

namespace vretnet::vision {
namespace {

using nlohmann::json;

constexpr const char* kPreprocessingKeys[] = {"size", "crop", "crop_fraction", "interpolation",
                                              "mean", "std",  "channels"};
constexpr int kLargestInput = 1 << 16;

json parse_json(const std::string& text, const std::string& where) {
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    throw UsageError(fmt::format("{}: not JSON: {}", where, error.what()));
  }
}

// The value of a key as a type, or an error that shows what was found.
template <class Value>
Value get(const json& object, const char* key, const std::string& where, const char* expected) {
  const auto found = object.find(key);
  if (found == object.end())
    throw UsageError(fmt::format("{}: '{}' is missing, expected {}", where, key, expected));
  try {
    return found->get<Value>();
  } catch (const json::exception&) {
    throw UsageError(fmt::format("{}: '{}' is {}, expected {}", where, key, found->dump(), expected));
  }
}

const std::string& value_of(const model::Metadata& metadata, const char* key, const std::string& where) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) throw UsageError(fmt::format("{}: metadata '{}' is missing", where, key));
  return found->second;
}

}  // namespace

std::string to_json(const Preprocessing& preprocessing) {
  return json{
      {"size", {preprocessing.height, preprocessing.width}},
      {"crop", "center"},
      {"crop_fraction", preprocessing.crop_fraction},
      {"interpolation", preprocessing.interpolation == Interpolation::Bicubic ? "bicubic" : "bilinear"},
      {"mean", preprocessing.mean},
      {"std", preprocessing.deviation},
      {"channels", preprocessing.channels}}
      .dump();
}

Preprocessing parse_preprocessing(const std::string& text, const std::string& where) {
  const json object = parse_json(text, where);
  if (!object.is_object()) throw UsageError(fmt::format("{}: expected an object", where));
  const std::vector<std::string> known(std::begin(kPreprocessingKeys), std::end(kPreprocessingKeys));
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      throw UsageError(fmt::format("{}: unknown key '{}'.{}", where, key, did_you_mean(key, known)));
    }
  }
  Preprocessing result;
  const auto size = get<std::vector<std::int64_t>>(object, "size", where, "[height, width]");
  if (size.size() != 2 || std::min(size[0], size[1]) < 1 || std::max(size[0], size[1]) > kLargestInput) {
    throw UsageError(fmt::format("{}: 'size' is {}, expected [height, width] of 1 … {}", where,
                                 object["size"].dump(), kLargestInput));
  }
  result.height = static_cast<int>(size[0]);
  result.width = static_cast<int>(size[1]);
  if (const auto crop = get<std::string>(object, "crop", where, "\"center\""); crop != "center") {
    throw UsageError(fmt::format("{}: 'crop' is '{}', expected 'center'", where, crop));
  }
  result.crop_fraction = get<double>(object, "crop_fraction", where, "a number above 0 and up to 1");
  if (!(result.crop_fraction > 0 && result.crop_fraction <= 1)) {
    throw UsageError(
        fmt::format("{}: 'crop_fraction' is {}, expected above 0 and up to 1", where, result.crop_fraction));
  }
  const auto interpolation = get<std::string>(object, "interpolation", where, "bilinear or bicubic");
  if (interpolation != "bicubic" && interpolation != "bilinear") {
    throw UsageError(
        fmt::format("{}: 'interpolation' is '{}', expected bilinear or bicubic", where, interpolation));
  }
  result.interpolation = interpolation == "bicubic" ? Interpolation::Bicubic : Interpolation::Bilinear;
  result.channels = static_cast<int>(get<std::int64_t>(object, "channels", where, "1 or 3"));
  if (result.channels != 1 && result.channels != 3) {
    throw UsageError(fmt::format("{}: 'channels' is {}, expected 1 or 3", where, result.channels));
  }
  result.mean = get<std::vector<float>>(object, "mean", where, "a list of numbers");
  result.deviation = get<std::vector<float>>(object, "std", where, "a list of numbers");
  const auto channels = static_cast<std::size_t>(result.channels);
  const auto usable = [](float deviation) { return std::isfinite(deviation) && deviation > 0; };
  if (result.mean.size() != channels || result.deviation.size() != channels ||
      !std::all_of(result.deviation.begin(), result.deviation.end(), usable)) {
    throw UsageError(fmt::format("{}: 'mean' {} and 'std' {}, expected {} numbers each, deviations above 0",
                                 where, object["mean"].dump(), object["std"].dump(), channels));
  }
  return result;
}

Preprocessing default_preprocessing(const ModelConfig& config) {
  Preprocessing preprocessing;
  preprocessing.height = static_cast<int>(config.image_size[0]);
  preprocessing.width = static_cast<int>(config.image_size[1]);
  preprocessing.channels = static_cast<int>(config.in_chans);
  if (config.in_chans == 1) {
    preprocessing.mean = {0.5f};
    preprocessing.deviation = {0.5f};
  }
  constexpr int kSmall = 64;  // below, a picture is usually as large as the model's input: nothing is cut off
  if (std::min(preprocessing.height, preprocessing.width) < kSmall) preprocessing.crop_fraction = 1;
  return preprocessing;
}

model::Metadata to_metadata(const Description& description) {
  model::Metadata metadata{
      {"model", to_json(description.config)},
      {"preprocessing", to_json(description.preprocessing)},
      {"class_names", json(description.class_names).dump(-1, ' ', false, json::error_handler_t::replace)}};
  if (description.temperature != 1) metadata["temperature"] = json(description.temperature).dump();
  return metadata;
}

Description parse_metadata(const model::Metadata& metadata, const std::string& where) {
  Description result;
  result.config = parse_model_config(value_of(metadata, "model", where), where + ": model");
  result.preprocessing =
      parse_preprocessing(value_of(metadata, "preprocessing", where), where + ": preprocessing");
  const json names = parse_json(value_of(metadata, "class_names", where), where + ": class_names");
  try {
    result.class_names = names.get<std::vector<std::string>>();
  } catch (const json::exception&) {
    throw UsageError(fmt::format("{}: class_names is no list of strings", where));
  }
  const ModelConfig& config = result.config;
  if (static_cast<std::int64_t>(result.class_names.size()) != config.classes) {
    throw UsageError(fmt::format("{}: {} class names for a model of {} classes", where,
                                 result.class_names.size(), config.classes));
  }
  if (const auto text = metadata.find("temperature"); text != metadata.end()) {
    const json number = parse_json(text->second, where + ": temperature");
    if (number.is_number()) result.temperature = number.get<double>();
    if (!number.is_number() || !(result.temperature > 0 && std::isfinite(result.temperature))) {
      throw UsageError(fmt::format("{}: temperature is {}, expected a number above 0", where, text->second));
    }
  }
  const Preprocessing& input = result.preprocessing;
  if (input.height != config.image_size[0] || input.width != config.image_size[1] ||
      input.channels != config.in_chans) {
    throw UsageError(fmt::format("{}: preprocessing makes {}×{}×{}, the model reads {}×{}×{}", where,
                                 input.height, input.width, input.channels, config.image_size[0],
                                 config.image_size[1], config.in_chans));
  }
  return result;
}

Classifier load_classifier(const std::filesystem::path& path) {
  const model::SafetensorsFile file(path);
  Classifier classifier;
  if (!model::is_our_format(file)) {
    classifier.description = describe_timm(file);
  } else {
    classifier.description = parse_metadata(file.metadata(), path.string());
  }
  classifier.model = make_model(classifier.description.config);
  model::ModelValues read = model::read_model_values(file, classifier.model->parameters());
  classifier.values = std::move(read.values);
  classifier.quantized = std::move(read.quantized);
  return classifier;
}

void save_classifier(const std::filesystem::path& path, const Description& description,
                     const layers::ParameterTable& table, const std::vector<float>& values,
                     const model::QuantizedParameters& quantized) {
  model::save_model_file(path, to_metadata(description), table, values, quantized);
}

bool names_model_file(const std::string& model) {
  std::error_code error;
  return model.ends_with(".safetensors") || std::filesystem::is_regular_file(model, error);
}

}  // namespace vretnet::vision
