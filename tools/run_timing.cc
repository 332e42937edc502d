#include "tools/run_timing.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/saved_run.h"

namespace vretnet::tools {

std::string to_json(const RunTiming& timing) {
  const auto rounded = [](double seconds) { return std::round(seconds * 1e3) / 1e3; };
  const nlohmann::ordered_json values = {{"training_seconds", rounded(timing.training_seconds)},
                                         {"validation_seconds", rounded(timing.validation_seconds)},
                                         {"images", timing.images}};
  return values.dump(2) + "\n";
}

std::optional<RunTiming> read_run_timing(const std::filesystem::path& folder) {
  try {
    const auto values = nlohmann::json::parse(read_text(folder / kTimingName));
    return RunTiming{values.at("training_seconds"), values.at("validation_seconds"), values.at("images")};
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace vretnet::tools
