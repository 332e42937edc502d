// From what the user names (-d) to data sets.
#pragma once

#include <filesystem>

#include "datasets/dataset.h"
#include "vision/image/decode.h"

namespace vretnet::datasets {

struct DataOptions {
  // Of every class, taken from train where the data have no validation part of their own; 0: no validation
  // then.
  double val_split = 0.1;
  std::uint64_t seed = 42;
  std::int64_t limit_train = 0;  // samples, stratified; 0: all
  std::int64_t limit_val = 0;
  vision::DecodeLimits decode_limits;
};

struct DataSplits {
  DatasetPointer train;
  DatasetPointer val;  // null where there is none
  std::vector<std::string> class_names;
  std::string description;  // "photos: train 9000 (10 classes), val 1000"
  // Files in the class folders that have no image's extension (.heic, .gif, .txt …) and are not looked at.
  std::vector<std::string> passed_over;
};

// `path` is the root of an ImageFolder, a folder of IDX files, or a name of installed_data_sets() where no
// folder is called so. Throws UsageError where it does not exist ("'photo' does not exist. Did you mean
// 'photos'?") or an option is out of range, DataError where its contents cannot be used.
DataSplits open_data(const std::string& path, const DataOptions& options = {});

struct OpenedSplit {
  DatasetPointer data;
  std::string part;  // "val", or what was taken: "val: 10 % of each class, seed 42"
};

// One part of `path` for eval: "train", "val" or "test" of a layout with splits. Where there is no validation
// part, "train" and "val" are the parts that open_data makes with the same options, and "all" is both. A
// class without an image does no harm here, nor one of val that train does not have.
OpenedSplit open_split(const std::string& path, const std::string& split, const DataOptions& options = {});

// The folder that `path` stands for: itself, or where the data set of that name is installed
// (XDG_DATA_DIRS/datasets/NAME). Throws UsageError as open_data does.
std::filesystem::path resolve_data_path(const std::string& path);

// Data sets known by name: fashion-mnist (Debian's package dataset-fashion-mnist).
const std::vector<std::string>& installed_data_sets();

}  // namespace vretnet::datasets
