#include "tools/saved_run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <exception>
#include <fstream>
#include <iterator>
#include <sstream>

#include "core/base/error.h"
#include "core/training/saved_state.h"
#include "tools/toml.h"

namespace vretnet::tools {
namespace {

// "key = value" of config.toml, where a value takes one line.
struct Line {
  std::string text, key;
};
std::vector<Line> lines_of(const std::string& text) {
  std::vector<Line> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back({line, line.substr(0, line.find(' '))});
  return lines;
}

std::string value_of(const Line& line, const std::string& where) {
  return parse_toml(line.text, where).at(0).values.at(0);
}

}  // namespace

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

model::Metadata to_metadata(const SavedRun& run) {
  model::Metadata metadata = vision::to_metadata(run.description);
  const BestEpoch& best = run.best;
  metadata["best"] =
      nlohmann::json{{"epoch", best.epoch}, {"top1", best.top1}, {"top5", best.top5}, {"loss", best.loss}}
          .dump();
  metadata["images"] = run.images.dump();
  metadata["class_weights"] = nlohmann::json(run.class_weights).dump();
  metadata["files"] = nlohmann::json(run.files).dump();
  return metadata;
}

SavedRun read_saved_run(const RunFolder& folder) {
  const std::string where = folder.state().string();
  const model::Metadata metadata = training::read_state_metadata(folder.state());
  SavedRun run;
  run.description = vision::parse_metadata(metadata, where);
  try {
    run.images = nlohmann::json::parse(metadata.at("images"));
    const nlohmann::json best = nlohmann::json::parse(metadata.at("best"));
    run.best = {best.at("epoch"), best.at("top1"), best.at("top5"), best.at("loss")};
    run.class_weights = nlohmann::json::parse(metadata.at("class_weights")).get<std::vector<float>>();
    run.files = nlohmann::json::parse(metadata.at("files")).get<std::map<std::string, std::int64_t>>();
  } catch (const std::exception& error) {  // of the map or of JSON
    throw UsageError(fmt::format("{}: 'images', 'best', 'class_weights' or 'files' cannot be read: {}", where,
                                 error.what()));
  }
  return run;
}

void check_same_classes(const SavedRun& saved, const std::vector<std::string>& class_names,
                        const RunFolder& folder) {
  const std::vector<std::string>& before = saved.description.class_names;
  if (before == class_names) return;
  throw UsageError(fmt::format("{}: the classes of the data were {}, are {}", folder.state().string(),
                               fmt::join(before, ", "), fmt::join(class_names, ", ")));
}

void check_same_images(const SavedRun& saved, const nlohmann::json& images, const RunFolder& folder) {
  if (saved.images == images) return;
  throw UsageError(fmt::format("{}: the data had {} images, have {}", folder.state().string(),
                               saved.images.dump(), images.dump()));
}

const std::map<std::string, std::string>& later_recipe_keys() {
  static const std::map<std::string, std::string> keys = {{"drop-path", "0"}};
  return keys;
}

std::vector<MovedPath> moved_paths(const RunFolder& folder, const std::string& recipe_text) {
  const std::string where = folder.file("config.toml").string();
  std::vector<Line> before = lines_of(read_text(folder.file("config.toml")));
  const std::vector<Line> now = lines_of(recipe_text);
  for (std::size_t i = 0; i < now.size(); ++i) {
    const auto later = later_recipe_keys().find(now[i].key);
    const auto written = [&](const Line& line) { return line.key == now[i].key; };
    if (later == later_recipe_keys().end() || std::any_of(before.begin(), before.end(), written)) continue;
    before.insert(before.begin() + static_cast<std::ptrdiff_t>(std::min(i, before.size())),
                  {fmt::format("{} = {}", later->first, later->second), later->first});
  }
  std::vector<MovedPath> moved;
  for (std::size_t i = 0; i < std::max(before.size(), now.size()); ++i) {
    const Line was = i < before.size() ? before[i] : Line{}, is = i < now.size() ? now[i] : Line{};
    if (was.text == is.text) continue;
    if (was.key == is.key && (was.key == "data-dir" || was.key == "model")) {
      const MovedPath path{was.key, value_of(was, where), value_of(is, where)};
      const bool names_files = vision::names_model_file(path.before) && vision::names_model_file(path.now);
      if (path.key == "data-dir" || names_files) {
        moved.push_back(path);
        continue;
      }
    }
    throw UsageError(
        fmt::format("--resume: the recipe differs from {}: was '{}', is '{}'", where, was.text, is.text));
  }
  return moved;
}

}  // namespace vretnet::tools
