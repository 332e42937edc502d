#include "datasets/registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <sstream>
#include <tuple>
#include <utility>

#include "core/base/did_you_mean.h"
#include "core/base/error.h"
#include "datasets/idx.h"
#include "datasets/image_folder.h"
#include "datasets/subset.h"

namespace vretnet::datasets {
namespace {

namespace fs = std::filesystem;

void check_options(const DataOptions& options) {
  if (!(options.val_split >= 0 && options.val_split < 1)) {
    throw UsageError(
        fmt::format("val-split {}: expected a share of 0 or more and less than 1", options.val_split));
  }
  if (options.limit_train < 0 || options.limit_val < 0) {
    throw UsageError(fmt::format("a limit of {} samples: expected 1 or more, or 0 for all",
                                 std::min(options.limit_train, options.limit_val)));
  }
}

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

// Names beside `path` that it could have been meant for.
std::vector<std::string> neighbours(const fs::path& path) {
  std::vector<std::string> names;
  std::error_code error;
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  for (fs::directory_iterator entry(parent, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    std::error_code unknown;
    if (!entry->is_directory(unknown)) continue;
    const fs::path name = entry->path().filename();
    names.push_back((path.has_parent_path() ? path.parent_path() / name : name).string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

DatasetPointer limited(DatasetPointer dataset, std::int64_t limit, std::uint64_t seed) {
  if (limit == 0 || limit >= dataset->size()) return dataset;
  return std::make_shared<Subset>(dataset, stratified_limit(all_labels(*dataset), limit, seed));
}

// Training and validation part of data that have none of their own.
std::pair<DatasetPointer, DatasetPointer> divided(const DatasetPointer& all, const DataOptions& options) {
  SplitIndices parts = stratified_split(all_labels(*all), options.val_split, options.seed);
  return {std::make_shared<Subset>(all, std::move(parts.first)),
          std::make_shared<Subset>(all, std::move(parts.second))};
}

DatasetPointer folder_split(const ScannedSplit& split, std::vector<std::string> class_names,
                            const DataOptions& options) {
  return std::make_shared<ImageFolder>(split, std::move(class_names), options.decode_limits);
}

std::string display_name(const std::string& path) {
  fs::path name = fs::path(path).lexically_normal();
  if (!name.has_filename()) name = name.parent_path();  // a slash at the end
  return name.has_filename() && name.filename() != "." ? name.filename().string() : path;
}

DataSplits open_idx(const IdxFiles& files) {
  DataSplits splits;
  splits.class_names = idx_class_names(files, read_idx_labels(files.train.labels));
  splits.train = std::make_shared<IdxDataset>(files.train, splits.class_names);
  if (files.val) splits.val = std::make_shared<IdxDataset>(*files.val, splits.class_names);
  return splits;
}

DataSplits open_folder(const FolderScan& scan, const DataOptions& options) {
  DataSplits splits;
  for (const fs::path& file : scan.other) splits.passed_over.push_back(file.string());
  splits.class_names = scanned_class_names(scan.splits[0]);
  splits.train = folder_split(scan.splits[0], splits.class_names, options);
  for (const ScannedSplit& split : scan.splits) {
    if (split.name == "val") splits.val = folder_split(split, splits.class_names, options);
  }
  return splits;
}

// By name: "train" and, where they are there, "val" and "test".
std::map<std::string, DatasetPointer> parts_on_disk(const fs::path& folder, const DataOptions& options) {
  std::map<std::string, DatasetPointer> parts;
  if (const auto idx = find_idx_files(folder)) {
    const DataSplits splits = open_idx(*idx);
    parts["train"] = splits.train;
    if (splits.val) parts["val"] = parts["test"] = splits.val;
    return parts;
  }
  for (const ScannedSplit& split : scan_folder(folder).splits) {
    std::vector<std::string> class_names;
    for (const ScannedClass& scanned : split.classes) class_names.push_back(scanned.name);
    parts[split.name.empty() ? "train" : split.name] = folder_split(split, std::move(class_names), options);
  }
  return parts;
}

}  // namespace

const std::vector<std::string>& installed_data_sets() {
  static const std::vector<std::string> names = {"fashion-mnist"};
  return names;
}

fs::path resolve_data_path(const std::string& path) {
  std::error_code error;
  if (fs::exists(path, error)) {
    if (!is_folder(path)) throw UsageError(fmt::format("'{}' is not a folder", path));
    return path;
  }
  const auto& known = installed_data_sets();
  if (std::find(known.begin(), known.end(), path) != known.end()) {
    const char* folders = std::getenv("XDG_DATA_DIRS");
    std::istringstream list(folders && *folders ? folders : "/usr/local/share:/usr/share");
    for (std::string folder; std::getline(list, folder, ':');) {
      const fs::path candidate = fs::path(folder) / "datasets" / path;
      if (is_folder(candidate)) return candidate;
    }
    throw UsageError(fmt::format("'{}' is not installed; on Debian: apt install dataset-{}", path, path));
  }
  std::vector<std::string> names = neighbours(path);
  names.insert(names.end(), known.begin(), known.end());
  throw UsageError(fmt::format("'{}' does not exist.{}", path, did_you_mean(path, names)));
}

DataSplits open_data(const std::string& path, const DataOptions& options) {
  check_options(options);
  const fs::path folder = resolve_data_path(path);
  const auto idx = find_idx_files(folder);
  DataSplits splits = idx ? open_idx(*idx) : open_folder(scan_folder(folder), options);
  if (!splits.val && options.val_split > 0) {
    std::tie(splits.train, splits.val) = divided(splits.train, options);
  }
  if (splits.val && splits.val->size() == 0) splits.val = nullptr;
  splits.train = limited(splits.train, options.limit_train, options.seed);
  if (splits.val) splits.val = limited(splits.val, options.limit_val, options.seed);
  splits.description = fmt::format("{}: train {} ({} classes)", display_name(path), splits.train->size(),
                                   splits.class_names.size());
  if (splits.val) splits.description += fmt::format(", val {}", splits.val->size());
  return splits;
}

OpenedSplit open_split(const std::string& path, const std::string& split, const DataOptions& options) {
  check_options(options);
  std::map<std::string, DatasetPointer> parts = parts_on_disk(resolve_data_path(path), options);
  OpenedSplit opened{nullptr, split};
  if (!parts.contains("val")) {
    const DatasetPointer all = parts.at("train");
    parts["all"] = all;
    if (options.val_split > 0) {
      std::tie(parts["train"], parts["val"]) = divided(all, options);
      if (split == "train" || split == "val") {
        const double share = split == "val" ? options.val_split : 1 - options.val_split;
        opened.part = fmt::format("{}: {:.4g} % of each class, seed {}", split, 100 * share, options.seed);
      }
    }
  }
  const auto found = parts.find(split);
  if (found == parts.end()) {
    std::vector<std::string> names;
    for (const auto& [name, data] : parts) names.push_back(name);
    throw UsageError(fmt::format("'{}' has no split '{}'; it has: {}.{}", path, split, fmt::join(names, ", "),
                                 did_you_mean(split, names)));
  }
  if (found->second->size() == 0) throw DataError(fmt::format("{}: no images in '{}'", path, opened.part));
  opened.data =
      limited(found->second, split == "train" ? options.limit_train : options.limit_val, options.seed);
  return opened;
}

}  // namespace vretnet::datasets
