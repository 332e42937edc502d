#include "datasets/registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>
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
    const DatasetPointer all = splits.train;
    SplitIndices parts = stratified_split(all_labels(*all), options.val_split, options.seed);
    splits.train = std::make_shared<Subset>(all, std::move(parts.first));
    splits.val = std::make_shared<Subset>(all, std::move(parts.second));
  }
  if (splits.val && splits.val->size() == 0) splits.val = nullptr;
  splits.train = limited(splits.train, options.limit_train, options.seed);
  if (splits.val) splits.val = limited(splits.val, options.limit_val, options.seed);
  splits.description = fmt::format("{}: train {} ({} classes)", display_name(path), splits.train->size(),
                                   splits.class_names.size());
  if (splits.val) splits.description += fmt::format(", val {}", splits.val->size());
  return splits;
}

DatasetPointer open_split(const std::string& path, const std::string& split, const DataOptions& options) {
  check_options(options);
  const fs::path folder = resolve_data_path(path);
  const std::int64_t limit = split == "train" ? options.limit_train : options.limit_val;
  std::vector<std::string> names;
  if (const auto idx = find_idx_files(folder)) {
    const DataSplits splits = open_idx(*idx);
    if (split == "train") return limited(splits.train, limit, options.seed);
    if (splits.val && (split == "val" || split == "test")) return limited(splits.val, limit, options.seed);
    names = {"train"};
    if (splits.val) names.emplace_back("val");
  } else {
    const FolderScan scan = scan_folder(folder);
    for (const ScannedSplit& found : scan.splits) {
      names.push_back(found.name);
      if (found.name != split && !found.name.empty()) continue;
      std::vector<std::string> class_names;  // a class without an image does no harm here
      for (const ScannedClass& scanned : found.classes) class_names.push_back(scanned.name);
      const DatasetPointer all = folder_split(found, std::move(class_names), options);
      if (all->size() == 0)
        throw DataError(fmt::format("{}: no images in class folders here", found.folder.string()));
      return limited(all, limit, options.seed);
    }
  }
  throw UsageError(fmt::format("'{}' has no split '{}'; it has: {}.{}", path, split, fmt::join(names, ", "),
                               did_you_mean(split, names)));
}

}  // namespace vretnet::datasets
