#include "tools/bench_compare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/measure/statistics.h"
#include "tools/bench_results.h"
#include "tools/json_text.h"
#include "tools/table.h"
#include "tools/terminal.h"

namespace vretnet::tools {
namespace {

using json = nlohmann::ordered_json;

// A key as a person reads it: its values that say something.
std::string name_of(const StoredRow& row) {
  std::vector<std::string> words;
  std::copy_if(row.key.begin(), row.key.end(), std::back_inserter(words),
               [](const std::string& value) { return !value.empty(); });
  return fmt::format("{}", fmt::join(words, " "));
}

const StoredRow* partner_of(const StoredRow& row, const std::vector<StoredRow>& rows) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const StoredRow& each) { return each.key == row.key; });
  return found == rows.end() ? nullptr : &*found;
}

void refuse_unmatched(const CompareFlags& flags, const std::vector<StoredRow>& before,
                      const std::vector<StoredRow>& now) {
  const auto look = [&](const std::vector<StoredRow>& rows, const std::vector<StoredRow>& others,
                        const std::string& file, const std::string& other) {
    std::vector<const StoredRow*> alone;
    for (const StoredRow& row : rows) {
      if (!partner_of(row, others)) alone.push_back(&row);
    }
    if (alone.empty() || (flags.matched_only && alone.size() < rows.size())) return;
    const std::string more = alone.size() > 1 ? fmt::format(" and {} more", alone.size() - 1) : "";
    throw DataError(
        fmt::format("{}: no row of {} is like '{}'{}; --matched-only leaves such rows out, --ignore "
                    "KEY matches without a key ({})",
                    file, other, name_of(*alone.front()), more, fmt::join(row_keys(), ", ")));
  };
  look(before, now, flags.before, flags.now);
  look(now, before, flags.now, flags.before);
}

const char* verdict_of(const measure::Estimate& ratio, double fail_over) {
  if (ratio.below(1)) return "faster";
  if (!ratio.above(1)) return "no clear difference";
  return ratio.value > 1 + fail_over / 100 ? "SLOWER" : "slower";
}

}  // namespace

int compare_results(const CompareFlags& flags) {
  const std::vector<StoredRow> before = read_rows(flags.before, flags.ignored);
  const std::vector<StoredRow> now = read_rows(flags.now, flags.ignored);
  refuse_unmatched(flags, before, now);

  Table table{{"measurement", "ms before", "ms now", "time", "low", "high", "of best", "verdict"}, {}};
  json rows = json::array();
  int failed = 0;
  for (const StoredRow& row : before) {
    const StoredRow* partner = partner_of(row, now);
    if (!partner) continue;
    const measure::Estimate ratio = measure::ratio_of_medians(row.milliseconds, partner->milliseconds);
    const measure::Summary old_times = measure::summarize(row.milliseconds);
    const measure::Summary new_times = measure::summarize(partner->milliseconds);
    const std::string verdict = verdict_of(ratio, flags.fail_over);
    failed += verdict == "SLOWER";
    const double best_ratio = new_times.best / old_times.best;
    table.rows.push_back({name_of(row), fmt::format("{:.4g}", old_times.median),
                          fmt::format("{:.4g}", new_times.median), fmt::format("{:.3f}x", ratio.value),
                          fmt::format("{:.3f}", ratio.low), fmt::format("{:.3f}", ratio.high),
                          fmt::format("{:.3f}x", best_ratio), verdict});
    rows.push_back({{"measurement", name_of(row)},
                    {"ms_median_before", old_times.median},
                    {"ms_median_now", new_times.median},
                    {"ratio", ratio.value},
                    {"low", ratio.low},
                    {"high", ratio.high},
                    {"ratio_of_best", best_ratio},
                    {"verdict", verdict}});
  }
  if (flags.format == "json") {
    print(json_text(rows, 2) + "\n");
  } else if (flags.format == "csv") {
    print(csv_table(table));
  } else {
    print(flags.format == "md" ? markdown_table(table) : text_table(table));
    print(
        fmt::format("\ntime: median now over median before, above 1 is slower; low, high: 95 % interval by "
                    "bootstrap over the repeats.\n{} of {} slower by more than {:g} %\n",
                    failed, table.rows.size(), flags.fail_over));
  }
  return failed > 0 ? 1 : 0;
}

}  // namespace vretnet::tools
