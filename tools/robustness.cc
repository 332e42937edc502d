#include "tools/robustness.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/command.h"
#include "tools/table.h"

namespace vretnet::tools {

void add_robustness_flags(CLI::App& app, RobustnessFlags& flags) {
  const char* group = "Robustness";
  app.add_option("--occlude", flags.occlude, "percent of patches to hide, drawn ones and one block: 25,50,75")
      ->delimiter(',')
      ->check(number_range(0.0, 100.0))
      ->group(group);
  app.add_option("--corrupt", flags.corrupt,
                 "noise, blur, brightness, jpeg: each at strengths 1 to 5 of ImageNet-C")
      ->delimiter(',')
      ->check(CLI::IsMember(vision::corruption_names()))
      ->group(group);
}

std::vector<vision::Disturbance> disturbances(const RobustnessFlags& flags,
                                              const vision::Description& model) {
  std::vector<vision::Disturbance> all;
  for (const double percent : flags.occlude) {
    for (const bool block : {false, true}) {
      all.emplace_back(vision::Occlusion{.share = percent / 100,
                                         .block = block,
                                         .patch_size = static_cast<int>(model.config.patch_size),
                                         .fill = vision::mean_colour(model.preprocessing)});
    }
  }
  const std::vector<std::string> names = vision::corruption_names();
  for (const std::string& name : flags.corrupt) {
    const auto kind =
        static_cast<vision::CorruptionKind>(std::find(names.begin(), names.end(), name) - names.begin());
    for (int strength = 1; strength <= vision::kCorruptionStrengths; ++strength)
      all.emplace_back(vision::Corruption{kind, strength});
  }
  return all;
}

std::vector<DisturbedResult> evaluate_disturbed(
    const std::vector<vision::Disturbance>& disturbances,
    const std::function<training::Evaluation(const vision::Disturbance&)>& evaluate) {
  std::vector<DisturbedResult> results;
  for (const vision::Disturbance& disturbance : disturbances) {
    const training::Evaluation evaluation = evaluate(disturbance);
    results.push_back({vision::name_of(disturbance), evaluation.top1, evaluation.loss, evaluation.ece});
  }
  return results;
}

std::string robustness_text(const std::vector<DisturbedResult>& results, double whole) {
  if (results.empty()) return "";
  Table table{.header = {"images with", "top1", "lost", "loss", "ece"}, .rows = {}};
  for (const DisturbedResult& result : results) {
    table.rows.push_back({result.name, fmt::format("{:.2f}%", 100 * result.top1),
                          fmt::format("{:.2f}", 100 * (whole - result.top1)),
                          fmt::format("{:.4f}", result.loss), fmt::format("{:.4f}", result.ece)});
  }
  return text_table(table);
}

nlohmann::ordered_json robustness_json(const std::vector<DisturbedResult>& results) {
  nlohmann::ordered_json rows = nlohmann::json::array();
  for (const DisturbedResult& result : results) {
    rows.push_back(nlohmann::ordered_json{
        {"images_with", result.name}, {"top1", result.top1}, {"loss", result.loss}, {"ece", result.ece}});
  }
  return rows;
}

}  // namespace vretnet::tools
