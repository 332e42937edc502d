// `vretnet eval compare RUN…`: models side by side on the same images.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "tools/model_evaluation.h"

namespace vretnet::tools {

struct CompareRunsFlags {
  std::vector<std::string> runs, groups;  // groups: "NAME=RUN,RUN"
  std::string against;                    // a group's name
  std::string data_dir, split = "val", format, output;
  std::string predictions;  // a folder to keep answers in and to take them from
  EvaluationFlags evaluation;
};
void declare_compare_runs(CLI::App& app, CompareRunsFlags& flags);

// Evaluates every run, or takes its answers from `predictions` where they are of the same model file and
// images, and writes the table. Without a data folder it is the one that the runs were trained on. Gives the
// exit code 0. Throws UsageError as compared_groups does and where the runs name several data folders,
// DataError where the runs have not kept the same images for validation or not the same could be read.
int compare_runs(const CompareRunsFlags& flags);

}  // namespace vretnet::tools
