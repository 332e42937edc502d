// Where a run took place: version, processor, libraries. A resume on another one may differ in the last bits.
#pragma once

#include <string>
#include <vector>

namespace vretnet::tools {

std::string processor_name();  // "Intel(R) Xeon(R) …", or "unknown"

// The content of env.json: {"version", "compiler", "processor", "threads", "backend"}.
std::string environment_json(const std::string& backend_description, int threads);

// The threads that such a text tells of, or 0.
int environment_threads(const std::string& environment);

// One line for every entry that differs between two such texts: "processor: was …, is …".
std::vector<std::string> environment_differences(const std::string& before, const std::string& now);

}  // namespace vretnet::tools
