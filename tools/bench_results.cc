#include "tools/bench_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/measure/statistics.h"
#include "tools/environment.h"
#include "tools/json_text.h"

namespace vretnet::tools {
namespace {

using json = nlohmann::ordered_json;

constexpr double kGiga = 1e9;

// Six significant digits: what is beyond them is noise.
double rounded(double value) {
  return std::stod(fmt::format("{:.6g}", value));
}

const char* mode_of(const BenchResult& result) {
  return result.point.training ? "train" : "inference";
}

std::string precision_of(const BenchCase& point) {
  return point.integers.empty() ? precision_of(point.machine) : "int8";
}

// The limits are those of f32, but for products of integers: a whole model of these, or one in bf16, is held
// against nothing.
bool has_gemm_peak(const BenchResult& result) {
  return precision_of(result.point) == "f32";
}
bool has_roofline(const BenchResult& result) {
  return precision_of(result.point) != "bf16";
}

// By the roofline.
double least_seconds(const BenchResult& result, const std::vector<OpCost>& calls) {
  double least = 0;
  for (const OpCost& call : calls)
    least += result.limits.least_seconds(call.flops, call.bytes, call.integers);
  return least;
}

json ops_json(const BenchResult& result) {
  double total = 0;
  for (const OpRow& row : result.ops) total += row.seconds;
  json ops = json::array();
  for (const OpRow& row : result.ops) {
    double flops = 0, bytes = 0;
    for (const OpCost& call : row.calls) {
      flops += call.flops;
      bytes += call.bytes;
    }
    ops.push_back(
        {{"op", row.op},
         {"calls", row.calls.size()},
         {"ms", rounded(1e3 * row.seconds)},
         {"share", rounded(row.seconds / total)},
         {"gflops", rounded(flops / row.seconds / kGiga)},
         {"gb_per_second", rounded(bytes / row.seconds / kGiga)},
         {"fraction_of_roofline",
          has_roofline(result) ? json(rounded(least_seconds(result, row.calls) / row.seconds)) : json()}});
  }
  return ops;
}

json limits_json(const BenchResult& result) {
  json bandwidths = json::array();
  for (const measure::Bandwidth& each : result.limits.bandwidths) {
    bandwidths.push_back({{"mib", each.bytes / kMebi}, {"gb_per_second", rounded(each.rate / kGiga)}});
  }
  return {{"threads", thread_count(result.point.machine)},
          {"fma_gflops", rounded(result.limits.fma_rate / kGiga)},
          {"gemm_gflops", rounded(result.limits.gemm_rate / kGiga)},
          {"quantized_gflops", rounded(result.limits.quantized_rate / kGiga)},
          {"bandwidth", bandwidths}};
}

// One result of each number of threads, in their order: all that share the limits.
std::vector<const BenchResult*> by_threads(const std::vector<BenchResult>& results) {
  std::vector<const BenchResult*> firsts;
  std::set<int> seen;
  for (const BenchResult& result : results) {
    if (seen.insert(thread_count(result.point.machine)).second) firsts.push_back(&result);
  }
  return firsts;
}

std::string cell_of(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array()) return fmt::format("{}x{}", value[0].dump(), value[1].dump());  // image_size
  return value.dump();
}

// The lists of a row, which a table of rows has no place for.
bool is_list(const std::string& key) {
  return key == "times_ms" || key == "ops";
}

Table csv_rows(const std::vector<BenchResult>& results) {
  Table table;
  for (const BenchResult& result : results) {
    table.header.clear();
    std::vector<std::string> cells;
    const json row = row_json(result);
    for (const auto& [key, value] : row.items()) {
      if (is_list(key)) continue;
      table.header.push_back(key);
      cells.push_back(cell_of(value));
    }
    table.rows.push_back(cells);
  }
  return table;
}

Table csv_ops(const std::vector<BenchResult>& results) {
  Table table;
  for (const BenchResult& result : results) {
    const json row = row_json(result);
    std::vector<std::string> point;
    table.header = row_keys();
    for (const std::string& key : row_keys()) point.push_back(cell_of(row.at(key)));
    for (const json& op : row.at("ops")) {
      std::vector<std::string> cells = point;
      for (const auto& [key, value] : op.items()) cells.push_back(cell_of(value));
      table.rows.push_back(cells);
    }
    for (const auto& [key, value] : row.at("ops").at(0).items()) table.header.push_back(key);
  }
  return table;
}

std::string per_cent(double fraction) {
  return fmt::format("{:.1f}%", 100 * fraction);
}

// Four significant digits in plain notation (0.0123, 12.34, 1234), a dash for nothing.
std::string short_number(double value) {
  if (value == 0) return "-";
  const int digits = value >= 1000 ? 0 : value >= 100 ? 1 : value >= 10 ? 2 : value >= 1 ? 3 : 4;
  return fmt::format("{:.{}f}", value, digits);
}

Table shown_rows(const std::vector<BenchResult>& results) {
  Table table{{"model", "mode", "form", "pixels", "batch", "threads", "img/s", "best img/s", "ms", "best ms",
               "p90 ms", "spread", "GFLOP/s", "of GEMM", "of own", "model MiB", "growth", "process"},
              {}};
  for (const BenchResult& result : results) {
    const measure::Summary summary = measure::summarize(result.seconds);
    const auto batch = static_cast<double>(result.point.batch);
    const double rate = result.flops / summary.best;
    std::string model = result.point.model;
    if (!result.point.options.empty()) model += " " + result.point.options;
    if (const std::string precision = precision_of(result.point); precision != "f32")
      model += " " + precision;
    table.rows.push_back(
        {model, mode_of(result), result.form_ran, image_size_text(result.point.config.image_size),
         std::to_string(result.point.batch), std::to_string(thread_count(result.point.machine)),
         short_number(batch / summary.median), short_number(batch / summary.best),
         short_number(1e3 * summary.median), short_number(1e3 * summary.best),
         short_number(1e3 * summary.p90), per_cent(summary.spread), short_number(rate / kGiga),
         has_gemm_peak(result) ? per_cent(rate / result.limits.gemm_rate) : "-",
         result.products_rate > 0 ? per_cent(rate / result.products_rate) : "-",
         fmt::format("{:.0f}", result.model_bytes / kMebi),
         fmt::format("{:.0f}", result.growth_bytes / kMebi),
         fmt::format("{:.0f}", result.process_bytes / kMebi)});
  }
  return table;
}

Table shown_ops(const BenchResult& result) {
  Table table{{"op", "calls", "ms", "share", "GFLOP/s", "GB/s", "of roofline"}, {}};
  for (const json& op : ops_json(result)) {
    table.rows.push_back({op.at("op"), op.at("calls").dump(), short_number(op.at("ms")),
                          per_cent(op.at("share")), short_number(op.at("gflops")),
                          short_number(op.at("gb_per_second")),
                          has_roofline(result) ? per_cent(op.at("fraction_of_roofline")) : "-"});
  }
  return table;
}

std::string shown(const std::vector<BenchResult>& results, bool markdown) {
  const auto write = markdown ? markdown_table : text_table;
  const char* paragraph = markdown ? "\n" : "";
  std::string text = processor_name() + "\n" + paragraph;
  for (const BenchResult* each : by_threads(results)) {
    const measure::Limits& limits = each->limits;
    text += fmt::format(
        "{}, f32: multiply-add {:.0f} GFLOP/s, GEMM {:.0f} GFLOP/s, memory {:.1f} GB/s{}\n{}", each->backend,
        limits.fma_rate / kGiga, limits.gemm_rate / kGiga, limits.memory_rate() / kGiga,
        limits.promised ? "; all but GEMM by the device's properties; timed on the device"
                        : fmt::format(", cache {:.0f} GB/s", limits.bandwidths.front().rate / kGiga),
        paragraph);
  }
  text += "\n" + write(shown_rows(results)) +
          "\nms: one batch, median. GFLOP/s at the best time; of GEMM: over the best large product above; of "
          "own: "
          "over the\nmodel's own products alone. spread: between the quartiles, of the median.\n";
  for (const BenchResult& result : results) {
    if (result.ops.empty()) continue;
    text += fmt::format("\n{} {} batch {}, {} threads, {}\n{}", result.point.model,
                        image_size_text(result.point.config.image_size), result.point.batch,
                        thread_count(result.point.machine), mode_of(result), paragraph);
    text += write(shown_ops(result));
  }
  return text;
}

}  // namespace

std::string image_size_text(const std::array<std::int64_t, 2>& size) {
  return size[0] == size[1] ? std::to_string(size[0]) : fmt::format("{}x{}", size[0], size[1]);
}

json row_json(const BenchResult& result) {
  const measure::Summary summary = measure::summarize(result.seconds);
  const BenchCase& point = result.point;
  const auto batch = static_cast<double>(point.batch);
  const double rate = result.flops / summary.best;
  json times = json::array();
  for (const double time : result.seconds) times.push_back(rounded(1e3 * time));
  const bool on_gpu = point.machine.device.starts_with("cuda");
  json row = {
      {"model", point.model},
      {"options", point.options},
      {"backend", on_gpu ? point.machine.device : point.machine.backend},
      {"precision", precision_of(point)},
      {"form", point.machine.form},
      {"form_ran", result.form_ran},
      {"image_size", point.config.image_size},
      {"tokens", point.config.tokens()},
      {"batch", point.batch},
      {"threads", thread_count(point.machine)},
      {"mode", mode_of(result)},
      {"images_per_second_best", rounded(batch / summary.best)},
      {"images_per_second_median", rounded(batch / summary.median)},
      {"ms_best", rounded(1e3 * summary.best)},
      {"ms_median", rounded(1e3 * summary.median)},
      {"ms_p90", rounded(1e3 * summary.p90)},
      {"spread", rounded(summary.spread)},
      {"gflop", rounded(result.flops / kGiga)},
      {"gflops", rounded(rate / kGiga)},
      {"gemm_gflops", rounded(result.limits.gemm_rate / kGiga)},
      {"products_gflops", rounded(result.products_rate / kGiga)},
      {"fraction_of_gemm_peak",
       has_gemm_peak(result) ? json(rounded(rate / result.limits.gemm_rate)) : json()},
      {"fraction_of_products",
       result.products_rate > 0 ? json(rounded(rate / result.products_rate)) : json()},
      {"fraction_of_roofline",
       has_roofline(result) ? json(rounded(least_seconds(result, result.costs) / summary.best)) : json()},
      {"clock", result.own_clock ? "device" : "host"},
      {"parameters", result.parameters},
      {"weights_mib", rounded(result.weights_bytes / kMebi)},
      {"model_mib", rounded(result.model_bytes / kMebi)},
      {"growth_mib", rounded(result.growth_bytes / kMebi)},
      {"peak_mib", rounded(result.process_bytes / kMebi)},
      {"repeats", result.seconds.size()},
      {"times_ms", times}};
  if (!result.ops.empty()) row["ops"] = ops_json(result);
  return row;
}

std::string results_text(const std::vector<BenchResult>& results, ResultFormat format) {
  std::string text;
  switch (format) {
    case ResultFormat::text:
    case ResultFormat::markdown:
      return shown(results, format == ResultFormat::markdown);
    case ResultFormat::csv:
      return csv_table(results.front().ops.empty() ? csv_rows(results) : csv_ops(results));
    case ResultFormat::jsonl:
      for (const BenchResult& result : results) text += json_text(row_json(result)) + "\n";
      return text;
    case ResultFormat::json:
      break;
  }
  const BenchResult& first = results.front();
  json file = {
      {"environment", json::parse(environment_json(first.backend, thread_count(first.point.machine)))},
      {"limits", json::array()},
      {"rows", json::array()}};
  for (const BenchResult* each : by_threads(results)) file["limits"].push_back(limits_json(*each));
  for (const BenchResult& result : results) file["rows"].push_back(row_json(result));
  return json_text(file, 2) + "\n";
}

}  // namespace vretnet::tools
