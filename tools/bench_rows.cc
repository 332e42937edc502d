// The way back: rows of result files, for `bench compare`.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/base/file.h"
#include "tools/bench_results.h"

namespace vretnet::tools {
namespace {

using json = nlohmann::ordered_json;

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
  throw DataError(
      fmt::format("{}: {}; expected a result of vretnet bench --format json or jsonl", where, what));
}

StoredRow parse_row(const json& row, const std::string& where, const std::vector<std::string>& ignored) {
  if (!row.is_object()) refuse(where, "not a JSON object");
  StoredRow stored;
  for (const std::string& key : row_keys()) {
    if (!row.contains(key)) refuse(where, fmt::format("'{}' is missing", key));
    const json& value = row.at(key);
    stored.full.push_back(value.is_string() ? value.get<std::string>() : value.dump());
    const bool counts = std::find(ignored.begin(), ignored.end(), key) == ignored.end();
    if (counts) stored.key.push_back(stored.full.back());
  }
  const json times = row.value("times_ms", json());
  if (!times.is_array() || times.empty()) refuse(where, "'times_ms' is missing or empty");
  for (const json& time : times) {
    const double value = time.is_number() ? time.get<double>() : 0;
    if (!(value > 0)) refuse(where, fmt::format("'times_ms' holds {}", time.dump()));
    stored.milliseconds.push_back(value);
  }
  return stored;
}

// Each row with its place in the file.
std::vector<std::pair<json, std::string>> rows_of(std::string_view text, const std::string& file) {
  std::vector<std::pair<json, std::string>> rows;
  const json whole = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (whole.is_object() && whole.contains("rows") && whole.at("rows").is_array()) {
    for (const json& row : whole.at("rows")) {
      rows.emplace_back(row, fmt::format("{}: row {}", file, rows.size() + 1));
    }
    return rows;
  }
  int line = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view one = text.substr(begin, end - begin);
    begin = end + 1;
    ++line;
    if (one.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}: line {}", file, line);
    json row = json::parse(one, nullptr, /*allow_exceptions=*/false);
    if (row.is_discarded()) refuse(where, "not JSON");
    rows.emplace_back(std::move(row), where);
  }
  return rows;
}

}  // namespace

const std::vector<std::string>& row_keys() {
  static const std::vector<std::string> keys = {"model",      "options", "backend", "precision", "form",
                                                "image_size", "batch",   "threads", "mode"};
  return keys;
}

std::vector<StoredRow> read_rows(const std::filesystem::path& path, const std::vector<std::string>& ignored) {
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  std::vector<StoredRow> stored;
  for (const auto& [row, where] : rows_of(text, path.string())) {
    StoredRow next = parse_row(row, where, ignored);
    const auto same = std::find_if(stored.begin(), stored.end(),
                                   [&](const StoredRow& each) { return each.key == next.key; });
    if (same == stored.end()) {
      stored.push_back(std::move(next));
    } else if (same->full != next.full) {
      throw DataError(fmt::format("{}: '{}' and '{}' differ in ignored keys only", where,
                                  fmt::join(same->full, " "), fmt::join(next.full, " ")));
    } else {
      same->milliseconds.insert(same->milliseconds.end(), next.milliseconds.begin(), next.milliseconds.end());
    }
  }
  if (stored.empty()) refuse(path.string(), "no rows");
  return stored;
}

}  // namespace vretnet::tools
