// Groups of runs side by side on the same images: accuracies with their intervals, and whether two groups
// differ.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/measure/answers.h"
#include "core/training/metrics.h"
#include "tools/compared_runs.h"
#include "tools/table.h"

namespace vretnet::tools {

// What one run answered to the images, once for each condition: as they are first, then disturbed ones.
struct RunAnswers {
  const ComparedRun* run = nullptr;
  std::vector<std::vector<training::Prediction>> predictions;  // [condition]
};

// A group under one condition.
struct ConditionResult {
  std::string images_with;                // "" or a disturbance's name
  measure::Estimate top1;                 // measure::mean_answer
  std::optional<measure::Estimate> lost;  // of top1 as the images are
  double loss = 0, ece = 0;               // means over the runs
};

struct GroupResult {
  const ComparedGroup* group = nullptr;
  std::vector<ConditionResult> conditions;
  std::vector<double> top1_of_runs;  // images as they are
  // Means over the runs; nothing where one of them has no timing.json.
  std::optional<double> training_seconds, images_per_second;
};

enum class Measure : std::uint8_t { top1, lost };

struct GroupDifference {
  Measure measure = Measure::top1;
  std::string images_with;
  const ComparedGroup* group = nullptr;
  const ComparedGroup* against = nullptr;
  measure::Estimate difference;  // group − against, paired by image
  bool paired_by_seed = false;   // both groups have the same seeds, each once
  std::vector<double> of_seeds;  // in the order of the group's runs; empty where not paired
  std::string verdict() const;   // "above", "below"; of lost "loses more", "loses fewer"; "not told apart"
};

struct Comparison {
  std::string data;  // "cifar10: 10000 images, split 'val'"
  std::int64_t images = 0;
  std::vector<GroupResult> groups;
  std::vector<GroupDifference> differences;
};

// `answers` follow the groups and their runs; all have answered the same images under the conditions whose
// names are `conditions` (the first is ""). Every group is set against every later one, or, where `against`
// is given, every other one against that.
Comparison compare_groups(const std::vector<ComparedGroup>& groups, const std::vector<RunAnswers>& answers,
                          const std::vector<std::string>& conditions, const ComparedGroup* against);

// For people; `markdown` as tables of Markdown. Accuracies in per cent, differences in points.
std::string comparison_text(const Comparison& comparison, bool markdown);
// A line a number: measure, images_with, group, against (empty but for differences), value, low, high,
// verdict.
std::string comparison_csv(const Comparison& comparison);
std::string comparison_json(const Comparison& comparison);

}  // namespace vretnet::tools
