#include "tools/environment.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tools/json_text.h"

namespace vretnet::tools {

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string environment_json(const std::string& backend_description, int threads) {
  const nlohmann::ordered_json environment = {{"version", VRETNET_VERSION},
                                              {"compiler", __VERSION__},
                                              {"processor", processor_name()},
                                              {"threads", threads},
                                              {"backend", backend_description}};
  return json_text(environment, 2) + "\n";
}

int environment_threads(const std::string& environment) {
  const auto values = nlohmann::json::parse(environment, nullptr, /*allow_exceptions=*/false);
  const auto threads = values.is_object() ? values.value("threads", nlohmann::json()) : nlohmann::json();
  return threads.is_number_integer() ? threads.get<int>() : 0;
}

std::vector<std::string> environment_differences(const std::string& before, const std::string& now) {
  std::vector<std::string> differences;
  const auto old_values = nlohmann::json::parse(before, nullptr, /*allow_exceptions=*/false);
  const auto new_values = nlohmann::json::parse(now, nullptr, /*allow_exceptions=*/false);
  if (!old_values.is_object()) return {"env.json cannot be read"};
  for (const auto& [key, value] : new_values.items()) {
    const auto old_value = old_values.value(key, nlohmann::json());
    if (old_value != value)
      differences.push_back(fmt::format("{}: was {}, is {}", key, old_value.dump(), value.dump()));
  }
  return differences;
}

}  // namespace vretnet::tools
