// The models that `vretnet eval compare` sets side by side: groups of runs of one model and one recipe, which
// differ in their seeds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tools/run_timing.h"
#include "vision/model_config.h"

namespace vretnet::tools {

struct EpochsOfRun {
  std::int64_t done = 0, asked = 0;
};

// A model file and, where it lies in a run folder, what that says of it.
struct ComparedRun {
  std::string name;  // as the user gave it
  std::filesystem::path file;
  // The run's config.toml without the seed, and the file's own name under "file"; empty outside of runs.
  std::map<std::string, std::string> recipe;
  std::string seed;  // "42"; empty where it is not known
  std::optional<RunTiming> timing;
  std::optional<EpochsOfRun> epochs;  // where it was to run to the end
  vision::ModelConfig config;
  std::vector<std::string> class_names;
  std::int64_t parameters = 0;
  double flops = 0;  // of one image forward
};

struct ComparedGroup {
  std::string name;
  std::vector<ComparedRun> runs;  // at least one
};

// Groups of `named` runs (run folders or model files) by recipe, in the order of their first ones, and after
// them `explicit_groups` ("NAME=RUN,RUN"). A group of runs is called by its model's name and, where several
// groups have that, what their recipes differ in; a model file outside of a run is a group of its own. Throws
// UsageError where a run cannot be read or comes twice, a group's runs are not of one model or have one seed,
// or the models do not know the same classes.
std::vector<ComparedGroup> compared_groups(const std::vector<std::string>& named,
                                           const std::vector<std::string>& explicit_groups);

}  // namespace vretnet::tools
