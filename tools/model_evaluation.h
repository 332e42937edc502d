// A trained model on a machine, ready to answer for the images of a data set: what eval and eval compare do.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/model/bound_weights.h"
#include "core/training/metrics.h"
#include "datasets/loader.h"
#include "tools/command.h"
#include "tools/robustness.h"
#include "vision/model_file.h"

namespace vretnet::tools {

// How images are evaluated, whatever the model.
struct EvaluationFlags {
  std::int64_t batch_size = 64;
  int workers = 1;
  std::string cache = "off", tta = "none";
  RobustnessFlags robustness;
  MachineFlags machine;
};
void add_evaluation_flags(CLI::App& app, EvaluationFlags& flags);
void add_split_flag(CLI::App& app, std::string& split);  // --split, which part of the data

class ModelEvaluation {
 public:
  // `file` is what messages call the model. `seed` is of what disturbances draw. `flags` outlive this object.
  // Throws UsageError where the machine is not there or the model holds no integers that were asked for,
  // DataError where the data have a class that the model does not know.
  ModelEvaluation(std::string file, vision::Classifier classifier, const datasets::DatasetPointer& data,
                  const EvaluationFlags& flags, std::uint64_t seed);

  vision::Classifier& classifier() { return classifier_; }
  const vision::Description& description() const { return classifier_.description; }
  // The images under the model's class names.
  const datasets::DatasetPointer& dataset() const { return dataset_; }
  std::string precision() const { return integers_ ? "int8" : precision_of(flags_.machine); }
  std::string text() const;  // "best.safetensors  vretnet_pico_patch4_28  f32  oneDNN …"

  // Of all images, disturbed where something is said. `progress` gets the images seen so far, `skipped` (may
  // be null) those that could not be read: all of them may be.
  training::Evaluation evaluate(const std::optional<vision::Disturbance>& disturbance,
                                const std::function<void(std::int64_t images)>& progress,
                                bool keep_logits = false,
                                std::vector<training::SkippedSample>* skipped = nullptr) const;

 private:
  std::string file_;
  vision::Classifier classifier_;
  datasets::DatasetPointer dataset_;
  const EvaluationFlags& flags_;
  std::uint64_t seed_;
  std::unique_ptr<Backend> backend_;
  bool integers_;
  model::BoundWeights weights_;
};

}  // namespace vretnet::tools
