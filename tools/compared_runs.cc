#include "tools/compared_runs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <sstream>

#include "core/base/error.h"
#include "tools/model_size.h"
#include "tools/run_folder.h"
#include "tools/saved_run.h"
#include "tools/toml.h"
#include "vision/model_file.h"

namespace vretnet::tools {
namespace {

namespace fs = std::filesystem;
using Recipe = std::map<std::string, std::string>;

// How far a run has come, from its metrics; nothing where it may end early, or its recipe names no epochs.
std::optional<EpochsOfRun> epochs_of(const fs::path& folder, const Recipe& recipe) {
  const auto number = [&](const char* key) {
    std::int64_t value = 0;
    if (const auto text = recipe.find(key); text != recipe.end())
      std::from_chars(text->second.data(), text->second.data() + text->second.size(), value);
    return value;
  };
  EpochsOfRun epochs{.asked = number("epochs") + number("cooldown-epochs")};
  if (epochs.asked == 0 || number("patience") != 0) return std::nullopt;
  std::istringstream rows(read_text(folder / "metrics.csv"));
  for (std::string row; std::getline(rows, row);)
    std::from_chars(row.data(), row.data() + row.size(), epochs.done);
  return epochs;
}

ComparedRun read_run(const std::string& named) {
  ComparedRun run{.name = named, .file = trained_file(named)};
  const fs::path folder = run.file.has_parent_path() ? run.file.parent_path() : fs::path(".");
  const fs::path recipe = folder / "config.toml";
  if (fs::exists(recipe)) {
    for (const TomlEntry& entry : parse_toml(read_text(recipe), recipe.string()))
      run.recipe[entry.key] = fmt::format("{}", fmt::join(entry.values, ","));
    run.recipe.insert(later_recipe_keys().begin(), later_recipe_keys().end());
    run.seed = run.recipe["seed"];
    run.epochs = epochs_of(folder, run.recipe);
    run.recipe.erase("seed");
    run.recipe.erase("chunk-rows");  // how retention is computed, not what
    run.recipe["file"] = run.file.filename().string();
    run.timing = read_run_timing(folder);
  }
  const vision::Classifier classifier = vision::load_classifier(run.file);
  run.config = classifier.description.config;
  run.class_names = classifier.description.class_names;
  run.parameters = classifier.model->parameters().count();
  run.flops = forward_flops(*classifier.model);
  return run;
}

// The keys in which the recipes of groups with one model name differ.
std::set<std::string> differing_keys(const std::vector<const ComparedGroup*>& groups) {
  std::set<std::string> keys;
  for (const ComparedGroup* one : groups) {
    for (const ComparedGroup* other : groups) {
      const Recipe &left = one->runs.front().recipe, &right = other->runs.front().recipe;
      for (const auto& [key, value] : left) {
        const auto found = right.find(key);
        if (found == right.end() || found->second != value) keys.insert(key);
      }
    }
  }
  return keys;
}

// "vretnet_pico_patch4_32_local", and "vretnet_pico_patch4_32_local gate=false" beside it: keys of the model
// stand in a recipe only where they were said.
void name_groups(std::vector<ComparedGroup>& groups) {
  std::map<std::string, std::vector<const ComparedGroup*>> same_model;
  for (const ComparedGroup& group : groups) {
    if (!group.runs.front().recipe.empty()) same_model[group.runs.front().config.name].push_back(&group);
  }
  for (ComparedGroup& group : groups) {
    const ComparedRun& first = group.runs.front();
    if (first.recipe.empty()) {
      group.name = first.name;
      continue;
    }
    group.name = first.config.name;
    for (const std::string& key : differing_keys(same_model.at(first.config.name))) {
      const auto value = first.recipe.find(key);
      if (value != first.recipe.end()) group.name += fmt::format(" {}={}", key, value->second);
    }
  }
}

std::vector<ComparedGroup> grouped_by_recipe(const std::vector<std::string>& named) {
  std::vector<ComparedGroup> groups;
  for (const std::string& name : named) {
    ComparedRun run = read_run(name);
    const auto same = std::find_if(groups.begin(), groups.end(), [&](const ComparedGroup& group) {
      return !run.recipe.empty() && group.runs.front().recipe == run.recipe;
    });
    if (same == groups.end()) {
      groups.push_back({"", {std::move(run)}});
    } else {
      same->runs.push_back(std::move(run));
    }
  }
  name_groups(groups);
  return groups;
}

ComparedGroup explicit_group(const std::string& text) {
  const std::size_t equals = text.find('=');
  ComparedGroup group{text.substr(0, equals), {}};
  std::istringstream names(equals == std::string::npos ? "" : text.substr(equals + 1));
  for (std::string name; std::getline(names, name, ',');) group.runs.push_back(read_run(name));
  if (group.name.empty() || group.runs.empty())
    throw UsageError(fmt::format("--group: '{}', expected NAME=RUN,RUN", text));
  return group;
}

void check_group(const ComparedGroup& group) {
  const ComparedRun& first = group.runs.front();
  std::map<std::string, std::string> run_of_seed;
  for (const ComparedRun& run : group.runs) {
    if (run.config != first.config)
      throw UsageError(fmt::format("'{}' and '{}' are not seeds of one model, as the group '{}' says",
                                   first.name, run.name, group.name));
    const auto [before, is_new] = run_of_seed.emplace(run.seed, run.name);
    if (!is_new && !run.seed.empty())
      throw UsageError(fmt::format(
          "'{}' and '{}' have one recipe and one seed ({}): a repetition says nothing of other seeds",
          before->second, run.name, run.seed));
  }
}

void check_once(const std::vector<const ComparedRun*>& runs) {
  std::map<fs::path, std::string> seen;
  for (const ComparedRun* run : runs) {
    const auto [before, is_new] = seen.emplace(fs::canonical(run->file), run->name);
    if (!is_new)
      throw UsageError(fmt::format("'{}' comes twice, the first time as '{}'", run->name, before->second));
  }
}

void check_classes(const std::vector<const ComparedRun*>& runs) {
  const ComparedRun& first = *runs.front();
  const std::set<std::string> expected(first.class_names.begin(), first.class_names.end());
  for (const ComparedRun* run : runs) {
    const std::set<std::string> found(run->class_names.begin(), run->class_names.end());
    std::vector<std::string> odd;
    std::set_symmetric_difference(expected.begin(), expected.end(), found.begin(), found.end(),
                                  std::back_inserter(odd));
    if (odd.empty()) continue;
    const bool lacks = expected.contains(odd.front());
    throw UsageError(fmt::format("'{}' and '{}' know different classes: the {} has no '{}'", first.name,
                                 run->name, lacks ? "second" : "first", odd.front()));
  }
}

}  // namespace

std::vector<ComparedGroup> compared_groups(const std::vector<std::string>& named,
                                           const std::vector<std::string>& explicit_groups) {
  std::vector<ComparedGroup> groups = grouped_by_recipe(named);
  for (const std::string& text : explicit_groups) groups.push_back(explicit_group(text));
  if (groups.empty())
    throw UsageError("nothing to compare: name run folders, model files, or --group NAME=RUN,RUN");
  std::set<std::string> names;
  std::vector<const ComparedRun*> runs;
  for (const ComparedGroup& group : groups) {
    for (const ComparedRun& run : group.runs) runs.push_back(&run);
  }
  check_once(runs);
  for (const ComparedGroup& group : groups) {
    if (!names.insert(group.name).second)
      throw UsageError(fmt::format("two groups are called '{}': name them with --group", group.name));
    check_group(group);
  }
  check_classes(runs);
  return groups;
}

}  // namespace vretnet::tools
