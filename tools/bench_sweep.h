// What a sweep over image sizes leaves: how time and memory grow with the number of tokens.
#pragma once

#include <filesystem>
#include <vector>

#include "tools/bench_case.h"

namespace vretnet::tools {

// `results` hold every model once at every size. Writes resolution.csv and resolution.json (the rows),
// resolution.md (a table, and at which sizes which model is ahead), time.svg and memory.svg into `folder`,
// and prints what resolution.md says.
void write_sweep(const std::vector<BenchResult>& results, const std::filesystem::path& folder);

}  // namespace vretnet::tools
