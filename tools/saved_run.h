// What an earlier part of a run left in its folder beside the arrays, and what a resume may change of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/run_folder.h"
#include "vision/model_file.h"

namespace vretnet::tools {

// The file's content; "" where there is none.
std::string read_text(const std::filesystem::path& path);

struct BestEpoch {
  std::int64_t epoch = -1;
  double top1 = -1, top5 = 0, loss = 0;
};

// The strings of last.state.safetensors.
struct SavedRun {
  vision::Description description;
  BestEpoch best;
  nlohmann::json images;             // how many each part of the data has: {"train": 900, "val": 100}
  std::vector<float> class_weights;  // of the loss; empty without
  std::map<std::string, std::int64_t> files;  // lengths of the files that are appended to
};
model::Metadata to_metadata(const SavedRun& run);
// Throws UsageError naming the file and what cannot be read.
SavedRun read_saved_run(const RunFolder& folder);

// Throws UsageError where the data are not those that the run began with.
void check_same_classes(const SavedRun& saved, const std::vector<std::string>& class_names,
                        const RunFolder& folder);
void check_same_images(const SavedRun& saved, const nlohmann::json& images, const RunFolder& folder);

// Keys of config.toml that earlier versions did not write, and what they did then.
const std::map<std::string, std::string>& later_recipe_keys();

// A path of the recipe that is another one than in the folder's config.toml.
struct MovedPath {
  std::string key, before, now;  // "data-dir", "/old/photos", "/new/photos"
};
// Compares the recipes. Throws UsageError where they differ in more than the places of data and model file.
std::vector<MovedPath> moved_paths(const RunFolder& folder, const std::string& recipe_text);

}  // namespace vretnet::tools
