// Results of a benchmark as files and on the terminal, and back from files.
//
// A row is one JSON object (json: {"environment", "limits", "rows": […]}; jsonl: a row a line; csv: a row a
// line without lists). Times are of one batch. `best` belongs to the fastest repeat; gflops, and what is a
// fraction of another rate, is taken at the best time, because those rates are best ones as well:
// - fraction_of_gemm_peak: over limits.gemm_gflops, the backend's best large f32 product in the same run;
// none
//   for models of integers or in bf16
// - fraction_of_products: over products_gflops, the model's own matrix products alone, each at its best
// - fraction_of_roofline: the sum of the ops' least times (measure::Limits::least_seconds) over the best
// time;
//   none in bf16, whose limits are not measured
// - clock: device, a GPU's own events; or host
// - model_mib: tensors: weights, also in the backend's layout, activations, workspaces, input; in training
//   gradients and moments
// - peak_mib: the process while this row was measured; growth_mib: over what it held before the model
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/bench_case.h"
#include "tools/result_format.h"
#include "tools/table.h"

namespace vretnet::tools {

constexpr double kMebi = 1 << 20;  // bytes of a MiB

nlohmann::ordered_json row_json(const BenchResult& result);

// All results as one text. A csv holds the rows of ops instead where there are such.
std::string results_text(const std::vector<BenchResult>& results, ResultFormat format);

std::string image_size_text(const std::array<std::int64_t, 2>& size);  // "224", or "224x192": height, width

// What rows of two files are matched by.
const std::vector<std::string>& row_keys();

// A row as `compare` needs it.
struct StoredRow {
  std::vector<std::string> key;   // the values of row_keys() but for those that are ignored
  std::vector<std::string> full;  // of all
  std::vector<double> milliseconds;
};
// The rows of a json or jsonl file; rows with equal keys (rounds of one measurement) are joined. Throws
// DataError that names the file, the row and what is wrong, also where two rows differ in ignored keys only.
std::vector<StoredRow> read_rows(const std::filesystem::path& path, const std::vector<std::string>& ignored);

}  // namespace vretnet::tools
