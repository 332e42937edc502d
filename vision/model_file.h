// A model file alone classifies an image: weights, what the model is, how pictures become its input, and the
// names of its classes.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/model/checkpoint.h"
#include "vision/image/transforms.h"
#include "vision/model_config.h"
#include "vision/vision_model.h"

namespace vretnet::vision {

// What stands beside the weights: the metadata `model`, `preprocessing` and `class_names` (MODEL.md,
// Checkpoints).
struct Description {
  ModelConfig config;
  Preprocessing preprocessing;
  std::vector<std::string> class_names;  // as many as config.classes
  // Confidence is calibrated by dividing the logits by it: > 0, 1 where the file says none (metadata
  // `temperature`, a number as text).
  double temperature = 1;
};
model::Metadata to_metadata(const Description& description);
// `where` begins messages. Throws UsageError for what is missing, unknown or does not fit together.
Description parse_metadata(const model::Metadata& metadata, const std::string& where);

std::string to_json(const Preprocessing& preprocessing);
Preprocessing parse_preprocessing(const std::string& json, const std::string& where);
// The preprocessing that a model without one of its own gets: the model's size and channels, ImageNet's mean
// and deviation (0.5 for grey), bicubic, crop fraction 0.875 from 64 pixels on, else 1.
Preprocessing default_preprocessing(const ModelConfig& config);

struct Classifier {
  Description description;
  std::unique_ptr<VisionModel> model;
  std::vector<float> values;  // flat, laid out by model->parameters()
  model::QuantizedParameters
      quantized;  // of a file by `vretnet quantize`; `values` holds what they stand for
};
// A file of ours, or a timm ViT state dict (vision/timm.h). Throws UsageError saying what is wrong or
// missing.
Classifier load_classifier(const std::filesystem::path& path);
void save_classifier(const std::filesystem::path& path, const Description& description,
                     const layers::ParameterTable& table, const std::vector<float>& values,
                     const model::QuantizedParameters& quantized = {});

// True for what names a file rather than a model of the registry: it exists, or ends in .safetensors.
bool names_model_file(const std::string& model);

}  // namespace vretnet::vision
