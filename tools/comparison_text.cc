// A comparison as tables and as JSON.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "tools/comparison.h"
#include "tools/json_text.h"
#include "tools/model_size.h"
#include "tools/terminal.h"

namespace vretnet::tools {
namespace {

using json = nlohmann::ordered_json;

const char* name_of(Measure measure) {
  return measure == Measure::top1 ? "top1" : "lost";
}

std::string seeds_text(const ComparedGroup& group) {
  std::vector<std::string> seeds;
  for (const ComparedRun& run : group.runs) seeds.push_back(run.seed.empty() ? "?" : run.seed);
  return fmt::format("{}", fmt::join(seeds, ", "));
}

// "81.23 ± 0.45": per cent, and half of the interval; * where it is the bootstrap's of one run.
std::string estimate_text(const measure::Estimate& estimate, const ComparedGroup& group) {
  return fmt::format("{:.2f} ± {:.2f}{}", 100 * estimate.value, 50 * (estimate.high - estimate.low),
                     group.runs.size() == 1 ? " *" : "");
}

Table group_table(const Comparison& comparison) {
  Table table{{"model", "parameters", "FLOP/image", "seeds", "top1 %", "loss", "ece", "training", "img/s"},
              {}};
  for (const GroupResult& each : comparison.groups) {
    const ComparedRun& run = each.group->runs.front();
    const ConditionResult& whole = each.conditions.front();
    table.rows.push_back(
        {each.group->name, count_text(static_cast<double>(run.parameters)), count_text(run.flops),
         seeds_text(*each.group), estimate_text(whole.top1, *each.group), fmt::format("{:.4f}", whole.loss),
         fmt::format("{:.4f}", whole.ece), each.training_seconds ? clock_text(*each.training_seconds) : "",
         each.images_per_second ? fmt::format("{:.0f}", *each.images_per_second) : ""});
  }
  return table;
}

// A row a condition, a column a group.
Table condition_table(const Comparison& comparison) {
  Table table{{"images with"}, {}};
  for (const GroupResult& each : comparison.groups) table.header.push_back(each.group->name);
  for (std::size_t c = 1; c < comparison.groups.front().conditions.size(); ++c) {
    table.rows.push_back({comparison.groups.front().conditions[c].images_with});
    for (const GroupResult& each : comparison.groups) {
      const ConditionResult& condition = each.conditions[c];
      table.rows.back().push_back(fmt::format("{:.2f}, lost {}", 100 * condition.top1.value,
                                              estimate_text(*condition.lost, *each.group)));
    }
  }
  return table;
}

Table difference_table(const Comparison& comparison) {
  Table table{{"of", "model", "against", "points", "low", "high", "each seed", "paired by", "verdict"}, {}};
  for (const GroupDifference& each : comparison.differences) {
    const auto points = [](double share) { return fmt::format("{:+.2f}", 100 * share); };
    std::vector<std::string> seeds;
    for (const double share : each.of_seeds) seeds.push_back(points(share));
    table.rows.push_back({each.measure == Measure::top1 ? "top1" : "lost with " + each.images_with,
                          each.group->name, each.against->name, points(each.difference.value),
                          points(each.difference.low), points(each.difference.high),
                          fmt::format("{}", fmt::join(seeds, " ")),
                          each.paired_by_seed ? "image, seed" : "image", each.verdict()});
  }
  return table;
}

std::vector<std::string> notes(const Comparison& comparison) {
  bool one_run = false, several_runs = false, unknown_time = false;
  for (const GroupResult& each : comparison.groups) {
    (each.group->runs.size() == 1 ? one_run : several_runs) = true;
    unknown_time |= !each.training_seconds;
  }
  std::vector<std::string> lines;
  if (several_runs) lines.push_back("±: half of the 95 % interval of the mean over the seeds, Student's t.");
  if (one_run) {
    lines.push_back(fmt::format(
        "*: one run, ± is half of its 95 % interval over the images, {} bootstrap draws; it says nothing of "
        "other seeds.",
        measure::kAnswerDraws));
  }
  if (!comparison.differences.empty()) {
    lines.push_back(
        fmt::format("points: the model's minus the other's; low, high: 95 % interval, {} bootstrap draws of "
                    "the images{}.",
                    measure::kAnswerDraws, several_runs ? " and of the runs" : ""));
  }
  lines.push_back(fmt::format("training, img/s: the training steps alone, mean of the runs{}.",
                              unknown_time ? "; empty where a run has no timing.json" : ""));
  return lines;
}

}  // namespace

std::string comparison_text(const Comparison& comparison, bool markdown) {
  const auto table_text = [&](const Table& table) {
    return (markdown ? markdown_table(table) : text_table(table)) + "\n";
  };
  std::string text = comparison.data + "\n\n" + table_text(group_table(comparison));
  if (comparison.groups.front().conditions.size() > 1) text += table_text(condition_table(comparison));
  if (!comparison.differences.empty()) text += table_text(difference_table(comparison));
  return text + fmt::format("{}\n", fmt::join(notes(comparison), markdown ? "  \n" : "\n"));
}

std::string comparison_csv(const Comparison& comparison) {
  Table table{{"measure", "images_with", "group", "against", "value", "low", "high", "verdict"}, {}};
  const auto number = [](double value) { return fmt::format("{}", value); };
  for (const GroupResult& each : comparison.groups) {
    const auto add = [&](const std::string& measure, const std::string& images_with, double value) {
      table.rows.push_back({measure, images_with, each.group->name, "", number(value), "", "", ""});
    };
    const auto add_estimate = [&](const std::string& measure, const std::string& images_with,
                                  const measure::Estimate& estimate) {
      table.rows.push_back({measure, images_with, each.group->name, "", number(estimate.value),
                            number(estimate.low), number(estimate.high), ""});
    };
    const ComparedRun& run = each.group->runs.front();
    add("parameters", "", static_cast<double>(run.parameters));
    add("flops_per_image", "", run.flops);
    add("runs", "", static_cast<double>(each.group->runs.size()));
    if (each.training_seconds) add("training_seconds", "", *each.training_seconds);
    if (each.images_per_second) add("images_per_second", "", *each.images_per_second);
    for (const ConditionResult& condition : each.conditions) {
      add_estimate("top1", condition.images_with, condition.top1);
      if (condition.lost) add_estimate("lost", condition.images_with, *condition.lost);
      add("loss", condition.images_with, condition.loss);
      add("ece", condition.images_with, condition.ece);
    }
  }
  for (const GroupDifference& each : comparison.differences) {
    table.rows.push_back({name_of(each.measure), each.images_with, each.group->name, each.against->name,
                          number(each.difference.value), number(each.difference.low),
                          number(each.difference.high), each.verdict()});
  }
  return csv_table(table);
}

std::string comparison_json(const Comparison& comparison) {
  const auto estimate_json = [](const measure::Estimate& estimate) {
    return json{{"value", estimate.value}, {"low", estimate.low}, {"high", estimate.high}};
  };
  json report = {{"data", comparison.data},
                 {"images", comparison.images},
                 {"bootstrap_draws", measure::kAnswerDraws},
                 {"groups", json::array()},
                 {"differences", json::array()}};
  for (const GroupResult& each : comparison.groups) {
    const ComparedRun& first = each.group->runs.front();
    json runs = json::array();
    for (std::size_t r = 0; r < each.group->runs.size(); ++r) {
      const ComparedRun& run = each.group->runs[r];
      json row = {
          {"run", run.name}, {"file", run.file.string()}, {"seed", nullptr}, {"top1", each.top1_of_runs[r]}};
      if (const json seed = json::parse(run.seed, nullptr, false); seed.is_number()) row["seed"] = seed;
      if (run.timing) {
        row["training_seconds"] = run.timing->training_seconds;
        row["validation_seconds"] = run.timing->validation_seconds;
        row["images_per_second"] = run.timing->images_per_second();
      }
      runs.push_back(row);
    }
    json conditions = json::array();
    for (const ConditionResult& condition : each.conditions) {
      json row = {{"images_with", condition.images_with}, {"top1", estimate_json(condition.top1)}};
      if (condition.lost) row["lost"] = estimate_json(*condition.lost);
      row["loss"] = condition.loss;
      row["ece"] = condition.ece;
      conditions.push_back(row);
    }
    report["groups"].push_back(
        {{"name", each.group->name},
         {"model", first.config.name},
         {"parameters", first.parameters},
         {"flops_per_image", first.flops},
         {"interval", each.group->runs.size() > 1 ? "student_t_over_seeds" : "bootstrap_over_images"},
         {"runs", runs},
         {"conditions", conditions}});
  }
  for (const GroupDifference& each : comparison.differences) {
    json row = {{"measure", name_of(each.measure)},
                {"images_with", each.images_with},
                {"group", each.group->name},
                {"against", each.against->name}};
    row.update(estimate_json(each.difference));
    row["paired_by"] = each.paired_by_seed ? json::array({"image", "seed"}) : json::array({"image"});
    row["each_seed"] = each.of_seeds;
    row["verdict"] = each.verdict();
    report["differences"].push_back(row);
  }
  return json_text(report, 2) + "\n";
}

}  // namespace vretnet::tools
