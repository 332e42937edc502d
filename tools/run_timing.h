// How long a run has computed, all its parts together: timing.json of a run folder, the one file there that
// differs from one run of a recipe to the next.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace vretnet::tools {

struct RunTiming {
  double training_seconds = 0;    // steps and loading, without saving
  double validation_seconds = 0;  // of all epochs
  std::int64_t images = 0;        // trained on, each as often as it came
  double images_per_second() const { return training_seconds > 0 ? double(images) / training_seconds : 0; }
};

inline constexpr const char* kTimingName = "timing.json";

std::string to_json(const RunTiming& timing);
// Nothing where the folder has no such file, or one that cannot be read as such.
std::optional<RunTiming> read_run_timing(const std::filesystem::path& folder);

}  // namespace vretnet::tools
