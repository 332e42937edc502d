#include "tools/compare_runs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "core/base/did_you_mean.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "datasets/registry.h"
#include "tools/comparison.h"
#include "tools/predictions.h"
#include "tools/recipe.h"
#include "tools/result_format.h"
#include "tools/terminal.h"

namespace vretnet::tools {
namespace {

namespace fs = std::filesystem;
using Groups = std::vector<ComparedGroup>;

std::vector<const ComparedRun*> all_runs(const Groups& groups) {
  std::vector<const ComparedRun*> runs;
  for (const ComparedGroup& group : groups) {
    for (const ComparedRun& run : group.runs) runs.push_back(&run);
  }
  return runs;
}

const ComparedGroup* group_called(const std::string& name, const Groups& groups) {
  if (name.empty()) return nullptr;
  std::vector<std::string> names;
  for (const ComparedGroup& group : groups) {
    if (group.name == name) return &group;
    names.push_back(group.name);
  }
  throw UsageError(fmt::format("--against: no group is called '{}'; there are: {}.{}", name,
                               fmt::join(names, ", "), did_you_mean(name, names)));
}

std::string recipe_value(const ComparedRun& run, const std::string& key) {
  const auto found = run.recipe.find(key);
  return found == run.recipe.end() ? "" : found->second;
}

// What --data-dir is where it is not given.
std::string common_data_dir(const std::vector<const ComparedRun*>& runs) {
  std::set<std::string> folders;
  for (const ComparedRun* run : runs) folders.insert(recipe_value(*run, "data-dir"));
  folders.erase("");
  if (folders.empty()) throw UsageError("--data-dir is missing: the images to compare on");
  if (folders.size() > 1) {
    throw UsageError(fmt::format("--data-dir is missing: the runs were trained on different data ({})",
                                 fmt::join(folders, ", ")));
  }
  return *folders.begin();
}

struct Division {
  std::string val_split, seed;
  bool operator==(const Division&) const = default;
};
Division division_of(const ComparedRun& run) {
  return {recipe_value(run, "val-split"), run.seed};
}

// A value of a run's config.toml; where it has none, `number` stays.
template <class Number>
void read_number(const std::string& text, const char* key, const ComparedRun& run, Number& number) {
  if (text.empty()) return;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size())
    throw UsageError(fmt::format("{}: {} = {}, expected a number",
                                 (run.file.parent_path() / "config.toml").string(), key, text));
}

// The part of the data that all are compared on. Where training divided the data, a run of another seed or
// share was trained on some of what this one kept aside.
datasets::OpenedSplit open_images(const std::string& data_dir, const std::string& split,
                                  const std::vector<const ComparedRun*>& runs) {
  const Division division = division_of(*runs.front());
  datasets::DataOptions options;
  read_number(division.val_split, "val-split", *runs.front(), options.val_split);
  read_number(division.seed, "seed", *runs.front(), options.seed);
  const datasets::OpenedSplit opened =
      naming("--data-dir", [&] { return datasets::open_split(data_dir, split, options); });
  if (opened.part == split) return opened;  // it lies on disk
  for (const ComparedRun* run : runs) {
    if (run->recipe.empty()) {
      throw DataError(fmt::format(
          "{} has no {} folder, and which of its images '{}', which lies in no run's folder, was "
          "trained on is not known; --split all takes all images, where no run was trained on them",
          data_dir, split, run->name));
    }
    if (division_of(*run) == division) continue;
    throw DataError(fmt::format(
        "{} has no {} folder, and '{}' (seed {}, val-split {}) was trained on images that '{}' (seed {}, "
        "val-split {}) kept aside: divide it once with vretnet data split and train on that",
        data_dir, split, run->name, run->seed, division_of(*run).val_split, runs.front()->name, division.seed,
        division.val_split));
  }
  return opened;
}

// Answers of one run after the other.
class Answering {
 public:
  Answering(const CompareRunsFlags& flags, datasets::OpenedSplit opened, std::string data_dir)
      : flags_(flags), opened_(std::move(opened)), data_dir_(std::move(data_dir)) {}

  RunAnswers answers_of(const ComparedRun& run, const std::string& label) {
    const nlohmann::json identity = model_identity(run.file);
    const ModelEvaluation model(run.file.string(), vision::load_classifier(run.file), opened_.data,
                                flags_.evaluation, Recipe().seed);
    const AnsweredImages images(model.dataset(), data_dir_, opened_.part);
    std::vector<std::optional<vision::Disturbance>> conditions(1);
    for (const auto& each : disturbances(flags_.evaluation.robustness, model.description()))
      conditions.emplace_back(each);

    RunAnswers answers{.run = &run};
    conditions_.clear();
    for (const auto& condition : conditions) {
      const std::string images_with = condition ? vision::name_of(*condition) : "";
      const std::string name = condition ? fmt::format("{} ({})", label, images_with) : label;
      conditions_.push_back(images_with);
      const AnswerOrigin origin{identity, images.identity(), images_with, flags_.evaluation.tta,
                                model.precision()};
      auto known =
          flags_.predictions.empty() ? std::nullopt : find_predictions(flags_.predictions, origin, images);
      if (known) {
        say(fmt::format("{}: answers from {}", name, flags_.predictions));
      } else {
        known = evaluate(model, condition, name);
        if (!flags_.predictions.empty()) {
          write_predictions(fs::path(flags_.predictions) / predictions_name(stem_of(run.file), origin),
                            origin, images, *known);
        }
      }
      check_same_images(run, *known);
      answers.predictions.push_back(std::move(*known));
    }
    return answers;
  }

  // Their names; the same for every run.
  const std::vector<std::string>& conditions() const { return conditions_; }

 private:
  // "local-1" of runs/local-1/best.safetensors.
  static std::string stem_of(const fs::path& file) {
    return file.has_parent_path() ? file.parent_path().filename().string() : file.stem().string();
  }

  std::vector<training::Prediction> evaluate(const ModelEvaluation& model,
                                             const std::optional<vision::Disturbance>& condition,
                                             const std::string& label) const {
    Progress progress(label, model.dataset()->size(), "img");
    std::vector<training::SkippedSample> skipped;
    training::Evaluation evaluation = model.evaluate(
        condition, [&](std::int64_t images) { progress.update(images); }, false, &skipped);
    progress.finish();
    for (const training::SkippedSample& sample : skipped)
      say(fmt::format("skipped {}: {}", sample.name, sample.reason));
    if (evaluation.images == 0) throw DataError(fmt::format("{}: not one image could be read", data_dir_));
    return std::move(evaluation.predictions);
  }

  void check_same_images(const ComparedRun& run, const std::vector<training::Prediction>& predictions) {
    std::vector<std::int64_t> images;
    for (const training::Prediction& each : predictions) images.push_back(each.index);
    if (images_.empty()) images_ = images;
    if (images_ == images) return;
    throw DataError(fmt::format(
        "{} has changed meanwhile: {} images could be read for '{}', {} or others for those before",
        data_dir_, images.size(), run.name, images_.size()));
  }

  const CompareRunsFlags& flags_;
  datasets::OpenedSplit opened_;
  std::string data_dir_;
  std::vector<std::int64_t> images_;  // that all have answered
  std::vector<std::string> conditions_;
};

std::string formatted(const Comparison& comparison, ResultFormat format) {
  switch (format) {
    case ResultFormat::csv:
      return comparison_csv(comparison);
    case ResultFormat::json:
      return comparison_json(comparison);
    case ResultFormat::markdown:
      return comparison_text(comparison, true);
    default:
      return comparison_text(comparison, false);
  }
}

}  // namespace

int compare_runs(const CompareRunsFlags& flags) {
  const ResultFormat format = result_format(flags.format, flags.output);
  if (format == ResultFormat::jsonl)
    throw UsageError(fmt::format("--output: '{}', expected .md, .csv, .json or a text file", flags.output));
  if (const fs::path folder = fs::path(flags.output).parent_path(); !folder.empty() && !fs::exists(folder))
    throw UsageError(fmt::format("--output: the folder of '{}' does not exist", flags.output));
  const Groups groups = compared_groups(flags.runs, flags.groups);
  const ComparedGroup* against = group_called(flags.against, groups);
  const std::vector<const ComparedRun*> runs = all_runs(groups);
  for (const ComparedRun* run : runs) {
    if (run->epochs && run->epochs->done < run->epochs->asked)
      say(fmt::format("warning: '{}' has trained {} of {} epochs", run->name, run->epochs->done,
                      run->epochs->asked));
  }
  const std::string data_dir = flags.data_dir.empty() ? common_data_dir(runs) : flags.data_dir;
  const datasets::OpenedSplit opened = open_images(data_dir, flags.split, runs);
  const std::string data =
      fmt::format("{}: {} images, split '{}'", data_dir, opened.data->size(), opened.part);
  say("data    " + data);

  for (const ComparedRun* run : runs) {
    const auto size = run->config.patch_size, first = runs.front()->config.patch_size;
    if (size == first || flags.evaluation.robustness.occlude.empty()) continue;
    say(fmt::format("warning: --occlude hides other patches for '{}' ({} pixels) than for '{}' ({})",
                    run->name, size, runs.front()->name, first));
  }

  Answering answering(flags, opened, data_dir);
  std::vector<RunAnswers> answers;
  for (const ComparedRun* run : runs) {
    answers.push_back(
        answering.answers_of(*run, fmt::format("run {}/{} {}", answers.size() + 1, runs.size(), run->name)));
  }
  Comparison comparison = compare_groups(groups, answers, answering.conditions(), against);
  comparison.data = data;
  const std::string text = formatted(comparison, format);
  if (flags.output.empty()) {
    print(text);
  } else {
    write_file_atomically(flags.output, text);
    say(fmt::format("wrote   {}", flags.output));
  }
  return 0;
}

void declare_compare_runs(CLI::App& app, CompareRunsFlags& flags) {
  app.add_option("runs", flags.runs, "run folders (their best.safetensors) or model files")->default_str("");
  app.add_option("--group", flags.groups, "NAME=RUN,RUN: runs that are seeds of one model; may come again")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false)
      ->default_str("");
  app.add_option("--against", flags.against,
                 "the group that all others are set against (default: each other)");
  app.add_option("-d,--data-dir,--data-path,--data", flags.data_dir,
                 "ImageFolder, IDX folder, or fashion-mnist (default: what the runs were trained on)");
  add_split_flag(app, flags.split);
  app.add_option("--predictions", flags.predictions,
                 "folder for the answers; those of the same model file and images are taken from it");
  app.add_option("--format", flags.format, "text, md, csv or json (default: by -o's ending, or text)")
      ->check(CLI::IsMember({"text", "md", "csv", "json"}));
  app.add_option("-o,--output", flags.output, "file for the table");
  add_evaluation_flags(app, flags.evaluation);
  add_output_flags(app);
  app.footer(
      "Runs whose recipes differ in nothing but the seed are a group. Groups differ (above, below) where "
      "the\n"
      "95 % interval of their difference, paired by image and seed, leaves 0 out.");
}

}  // namespace vretnet::tools
