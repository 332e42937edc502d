// eval's --occlude and --corrupt: the same images again, made worse on purpose.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/training/metrics.h"
#include "vision/image/disturbance.h"
#include "vision/model_file.h"

namespace vretnet::tools {

struct RobustnessFlags {
  std::vector<double> occlude;       // percent of the patches
  std::vector<std::string> corrupt;  // names of corruptions; each at five strengths
};
void add_robustness_flags(CLI::App& app, RobustnessFlags& flags);

// Hidden patches get the mean colour of the model's preprocessing: zero to the model.
std::vector<vision::Disturbance> disturbances(const RobustnessFlags& flags, const vision::Description& model);

struct DisturbedResult {
  std::string name;
  double top1 = 0, loss = 0, ece = 0;
};
// Evaluates once for each disturbance.
std::vector<DisturbedResult> evaluate_disturbed(
    const std::vector<vision::Disturbance>& disturbances,
    const std::function<training::Evaluation(const vision::Disturbance&)>& evaluate);

// A table with the points of top-1 lost against `whole`, the undisturbed images; empty without results.
std::string robustness_text(const std::vector<DisturbedResult>& results, double whole);
nlohmann::ordered_json robustness_json(const std::vector<DisturbedResult>& results);

}  // namespace vretnet::tools
