// What `data check` finds: everything that would hurt a training run, before it does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "datasets/dataset.h"
#include "vision/image/decode.h"

namespace vretnet::datasets {

struct CheckOptions {
  int workers = 1;  // threads; 0: the caller's
  vision::DecodeLimits decode_limits;
  // Called now and then, from one thread at a time, with the images read so far and all of them.
  std::function<void(std::int64_t done, std::int64_t total)> progress;
};

struct CheckedClass {
  std::string name;
  std::int64_t train = 0, val = 0, test = 0;  // images; those of a folder without splits count as train
};

struct UnreadableFile {
  std::string file;
  std::string reason;
};

// Images of the same pixels (as decoded to RGB), two or more, sorted by name.
struct DuplicateGroup {
  std::vector<std::string> files;
  bool same_bytes = false;      // the files themselves are equal
  bool across_classes = false;  // the same picture under two labels: at least one label is wrong
  bool leaked = false;          // in two of train, val, test: the measure is not of what is new
};

struct CheckReport {
  std::int64_t images = 0;  // looked at
  std::vector<CheckedClass> classes;
  std::vector<UnreadableFile> unreadable;
  std::vector<DuplicateGroup> duplicates;
  std::vector<std::string> empty_classes;        // folders without an image
  std::vector<std::string> unknown_val_classes;  // of val, missing in train
  std::vector<std::string> missing_val_classes;  // of train, without an image in val (where there is a val)
  std::vector<std::string> unrecognised;         // files without an image's extension
  std::vector<std::string> loose;                // images outside of any class

  // Nothing that training would trip over or learn wrongly from: no unreadable image, no duplicate across
  // classes or splits, no empty or unknown class. Other duplicates, loose and unrecognised files are remarks.
  bool clean() const;
};

// Checks an ImageFolder, a folder of IDX files, or an installed data set (registry.h). Every image is
// decoded. Throws as open_data does where there is nothing to check.
CheckReport check_data(const std::string& path, const CheckOptions& options = {});

// `--fix move:DIR`: moves the files of `report.unreadable` below `destination`, keeping their paths relative
// to `root`. Nothing is overwritten: where a name is taken, a number is added. Returns (from, to) of each.
// Throws UsageError where `destination` lies inside `root`, RunError where a file cannot be moved.
std::vector<std::pair<std::filesystem::path, std::filesystem::path>> move_unreadable(
    const CheckReport& report, const std::filesystem::path& root, const std::filesystem::path& destination);

}  // namespace vretnet::datasets
