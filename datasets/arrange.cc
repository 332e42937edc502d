#include "datasets/arrange.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "core/base/error.h"
#include "datasets/idx.h"
#include "datasets/image_folder.h"
#include "datasets/registry.h"
#include "datasets/subset.h"
#include "vision/image/encode_png.h"

namespace vretnet::datasets {
namespace {

namespace fs = std::filesystem;

bool lies_inside(const fs::path& path, const fs::path& folder) {
  const fs::path relative = fs::weakly_canonical(path).lexically_relative(fs::weakly_canonical(folder));
  return !relative.empty() && *relative.begin() != "..";
}

// A folder that appears whole or not at all: it is filled beside its place and renamed at the end.
class NewFolder {
 public:
  explicit NewFolder(const fs::path& destination) : destination_(destination.lexically_normal()) {
    if (!destination_.has_filename()) destination_ = destination_.parent_path();  // a slash at the end
    std::error_code error;
    const bool taken =
        fs::exists(destination_) && !(fs::is_directory(destination_) && fs::is_empty(destination_, error));
    if (taken) throw UsageError(fmt::format("'{}' exists and is not an empty folder", destination.string()));
    partial_ = destination_;
    partial_ += ".partial";
    if (fs::exists(partial_)) {
      throw UsageError(
          fmt::format("'{}' is left from a run that was cut off (or another is at work): remove it first",
                      partial_.string()));
    }
    make(partial_);
  }
  ~NewFolder() {
    std::error_code ignored;
    if (!kept_) fs::remove_all(partial_, ignored);
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  const fs::path& path() const { return partial_; }

  static void make(const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) throw RunError(fmt::format("{}: cannot be made: {}", folder.string(), error.message()));
  }

  void keep() {
    std::error_code error;
    fs::rename(partial_, destination_, error);
    if (error) throw RunError(fmt::format("{}: cannot be renamed: {}", partial_.string(), error.message()));
    kept_ = true;
  }

 private:
  fs::path destination_, partial_;
  bool kept_ = false;
};

void place(const fs::path& from, const fs::path& to, PlaceMode mode) {
  NewFolder::make(to.parent_path());
  std::error_code error;
  // A hard link to a symbolic link would be a link itself, and may point nowhere from its new place.
  if (mode == PlaceMode::HardLink) {
    fs::create_hard_link(fs::canonical(from, error), to, error);
  } else {
    fs::copy_file(from, to, fs::copy_options::none, error);
  }
  if (error) {
    throw RunError(fmt::format("{}: cannot be {} to {}: {}", from.string(),
                               mode == PlaceMode::HardLink ? "linked" : "copied", to.string(),
                               error.message()));
  }
}

void write_bytes(const fs::path& path, const std::vector<std::byte>& bytes) {
  const auto fail = [&] {
    throw RunError(fmt::format("{}: cannot be written: {}", path.string(), std::strerror(errno)));
  };
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "wbe"), std::fclose);
  if (!file || std::fwrite(bytes.data(), 1, bytes.size(), file.get()) != bytes.size()) fail();
  if (std::fclose(file.release()) != 0) fail();
}

}  // namespace

ArrangedCounts split_folder(const fs::path& root, const fs::path& destination, const SplitOptions& options) {
  if (!(options.val_split > 0 && options.val_split < 1)) {
    throw UsageError(fmt::format("val-split {}: expected a share between 0 and 1", options.val_split));
  }
  const fs::path folder = resolve_data_path(root.string());
  if (lies_inside(destination, folder)) {
    throw UsageError(
        fmt::format("'{}' lies inside '{}', which is to be split", destination.string(), root.string()));
  }
  const FolderScan scan = scan_folder(folder);
  if (!scan.splits[0].name.empty()) {
    throw DataError(fmt::format("{}: is split already (it has a folder 'train')", root.string()));
  }
  const ImageFolder all(scan.splits[0], scanned_class_names(scan.splits[0]));
  const SplitIndices parts = stratified_split(all_labels(all), options.val_split, options.seed);
  NewFolder result(destination);
  const auto place_all = [&](const std::vector<std::int64_t>& indices, const char* name) {
    for (const std::int64_t index : indices) {
      place(all.file(index), result.path() / name / all.file(index).lexically_relative(folder), options.mode);
    }
  };
  place_all(parts.first, "train");
  place_all(parts.second, "val");
  result.keep();
  return {std::int64_t(parts.first.size()), std::int64_t(parts.second.size())};
}

ArrangedCounts import_idx(const std::string& path, const fs::path& destination,
                          const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const fs::path folder = resolve_data_path(path);
  if (!find_idx_files(folder)) {
    throw DataError(fmt::format("{}: no IDX files here (train-images-idx3-ubyte.gz and its labels)", path));
  }
  const DataSplits splits = open_data(path, {.val_split = 0});
  const ArrangedCounts counts{splits.train->size(), splits.val ? splits.val->size() : 0};
  const std::int64_t total = counts.train + counts.val, step = std::max<std::int64_t>(1, total / 100);
  NewFolder result(destination);
  std::int64_t done = 0;
  const auto write_all = [&](const Dataset& dataset, const char* name) {
    for (const std::string& class_name : dataset.class_names())
      NewFolder::make(result.path() / name / class_name);
    for (std::int64_t i = 0; i < dataset.size(); ++i) {
      const std::string& class_name = dataset.class_names()[std::size_t(dataset.label(i))];
      write_bytes(result.path() / name / class_name / fmt::format("{:05}.png", i),
                  vision::encode_png(dataset.read(i, 1)));
      if (progress && (++done % step == 0 || done == total)) progress(done, total);
    }
  };
  write_all(*splits.train, "train");
  if (splits.val) write_all(*splits.val, "val");
  result.keep();
  return counts;
}

}  // namespace vretnet::datasets
