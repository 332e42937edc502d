#include "tools/bench_sweep.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <string>

#include "core/base/file.h"
#include "core/measure/statistics.h"
#include "tools/bench_results.h"
#include "tools/line_chart.h"
#include "tools/table.h"
#include "tools/terminal.h"

namespace vretnet::tools {
namespace {

using Rows = std::vector<const BenchResult*>;  // of one model, from few to many tokens

std::vector<Rows> by_model(const std::vector<BenchResult>& results) {
  std::vector<Rows> models;
  for (const BenchResult& result : results) {
    const auto same = std::find_if(models.begin(), models.end(), [&](const Rows& rows) {
      return rows.front()->point.model == result.point.model;
    });
    if (same == models.end()) {
      models.push_back({&result});
    } else {
      same->push_back(&result);
    }
  }
  for (Rows& rows : models) {
    std::stable_sort(rows.begin(), rows.end(), [](const BenchResult* a, const BenchResult* b) {
      return a->point.config.tokens() < b->point.config.tokens();
    });
  }
  return models;
}

std::string seconds_text(double seconds) {
  if (seconds >= 1) return fmt::format("{:.3g} s", seconds);
  if (seconds >= 1e-3) return fmt::format("{:.3g} ms", 1e3 * seconds);
  return fmt::format("{:.3g} µs", 1e6 * seconds);
}
std::string mebi_text(double mebi) {
  if (mebi >= 1024) return fmt::format("{:.3g} GiB", mebi / 1024);
  return mebi >= 1 ? fmt::format("{:.3g} MiB", mebi) : fmt::format("{:.3g} KiB", 1024 * mebi);
}

double median_of(const BenchResult& result) {
  return measure::quantile(result.seconds, 0.5);
}
// Tokens are patches here, so that models with a class token stand at the same place.
double patches_of(const BenchResult& result) {
  return static_cast<double>(result.point.config.rows() * result.point.config.columns());
}

std::string chart(const std::vector<Rows>& models, const std::string& title, const std::string& label,
                  const std::function<double(const BenchResult&)>& value,
                  const std::function<std::string(double)>& text) {
  LineChart drawn{title, "tokens (patches of an image)", label, {}, text};
  for (const Rows& rows : models) {
    ChartLine line{rows.front()->point.model, {}};
    for (const BenchResult* row : rows) line.points.emplace_back(patches_of(*row), value(*row));
    drawn.lines.push_back(std::move(line));
  }
  return line_chart_svg(drawn);
}

Table table_of(const std::vector<Rows>& models) {
  Table table{{"pixels", "tokens"}, {}};
  for (const Rows& rows : models) table.header.push_back(rows.front()->point.model);
  for (const Rows& rows : models) table.header.push_back(rows.front()->point.model + " memory");
  for (std::size_t i = 0; i < models.front().size(); ++i) {
    const BenchResult& first = *models.front()[i];
    std::vector<std::string> cells{image_size_text(first.point.config.image_size),
                                   fmt::format("{:.0f}", patches_of(first))};
    for (const bool memory : {false, true}) {
      for (const Rows& rows : models) {
        if (i >= rows.size()) {  // interrupted
          cells.emplace_back("-");
        } else {
          cells.push_back(memory ? mebi_text(rows[i]->model_bytes / kMebi)
                                 : seconds_text(median_of(*rows[i])));
        }
      }
    }
    table.rows.push_back(cells);
  }
  return table;
}

// Sizes at which something holds, with how much: "448 (1.8x), 640 (2.5x)".
class Sizes {
 public:
  void add(const BenchResult& row, double times) {
    words_.push_back(fmt::format("{} ({:.2f}x)", image_size_text(row.point.config.image_size), times));
  }
  std::string text() const { return words_.empty() ? "no size" : fmt::format("{}", fmt::join(words_, ", ")); }
  bool empty() const { return words_.empty(); }

 private:
  std::vector<std::string> words_;
};

// Who is ahead where. A difference in time counts where its interval leaves 1 out.
std::string comparison(const Rows& attention, const Rows& retention) {
  Sizes faster, slower, alike, smaller, larger;
  for (std::size_t i = 0; i < std::min(attention.size(), retention.size()); ++i) {
    const BenchResult &left = *attention[i], &right = *retention[i];
    const measure::Estimate ratio = measure::ratio_of_medians(left.seconds, right.seconds);
    Sizes& place = ratio.above(1) ? faster : ratio.below(1) ? slower : alike;
    place.add(left, ratio.value > 1 ? ratio.value : 1 / ratio.value);
    const double memory = right.model_bytes / left.model_bytes;
    (memory > 1 ? smaller : larger).add(left, std::max(memory, 1 / memory));
  }
  const std::string &vit = attention.front()->point.model, &other = retention.front()->point.model;
  std::string text = fmt::format(
      "{} (attention) against {} (retention), by median time and model memory, at pixels:\n"
      "- attention is faster at {}\n- retention is faster at {}\n",
      vit, other, faster.text(), slower.text());
  if (!alike.empty()) text += fmt::format("- no clear difference at {}\n", alike.text());
  return text + fmt::format("- attention needs less memory at {}\n- retention needs less memory at {}\n",
                            smaller.text(), larger.text());
}

std::string summary(const std::vector<Rows>& models) {
  std::string text;
  for (const Rows& attention : models) {
    for (const Rows& retention : models) {
      if (attention.front()->point.config.mixer == vision::MixerKind::attention &&
          retention.front()->point.config.mixer == vision::MixerKind::retention) {
        text += "\n" + comparison(attention, retention);
      }
    }
  }
  return text;
}

}  // namespace

void write_sweep(const std::vector<BenchResult>& results, const std::filesystem::path& folder) {
  const std::vector<Rows> models = by_model(results);
  const BenchResult& first = results.front();
  const std::string what =
      fmt::format("{}, batch {}, {}", first.point.training ? "A training step" : "Inference",
                  first.point.batch, first.backend);
  const Table table = table_of(models);
  const std::string verdicts = summary(models);
  write_file_atomically(folder / "resolution.csv", results_text(results, ResultFormat::csv));
  write_file_atomically(folder / "resolution.json", results_text(results, ResultFormat::json));
  write_file_atomically(folder / "resolution.md", what + "\n\n" + markdown_table(table) + verdicts);
  write_file_atomically(folder / "time.svg",
                        chart(models, what, "time of a batch, median", median_of, seconds_text));
  write_file_atomically(folder / "memory.svg",
                        chart(
                            models, what, "memory of the model",
                            [](const BenchResult& row) { return row.model_bytes / kMebi; }, mebi_text));
  print(what + "\n\n" + text_table(table) + verdicts);
  say(fmt::format("resolution.csv, resolution.json, resolution.md, time.svg, memory.svg -> {}",
                  folder.string()));
}

}  // namespace vretnet::tools
