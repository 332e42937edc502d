// Every picture of a data set with what is known of it, for the checks and the statistics. For use inside
// datasets.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "datasets/checks.h"
#include "datasets/folder_scan.h"

namespace vretnet::datasets {

enum class SplitKind { Train, Val, Test };

struct SurveyItem {
  std::string name;            // what reports call it
  std::filesystem::path file;  // empty where it is no file of its own
  std::int64_t index = 0;      // in its data set, where it is no file of its own
  int class_index = -1;        // in Survey::classes; −1: outside of any class
  SplitKind split = SplitKind::Train;
};

struct SurveyedImage {
  vision::Image image;  // RGB
  std::string format;
  std::vector<std::string> kinds;  // "RGB" or "grey", then what decoding did beside
};

class Survey {
 public:
  // As open_data, but classes may be empty and those of val need not be in train. Throws DataError where
  // there is nothing that could be an image.
  Survey(const std::string& path, const vision::DecodeLimits& limits);

  const std::vector<SurveyItem>& items() const { return items_; }
  // All classes of all splits, sorted by name, or in the order of an IDX file's labels.
  const std::vector<CheckedClass>& classes() const { return classes_; }
  const std::optional<FolderScan>& scan() const { return scan_; }  // of an image folder

  // Throws DataError.
  SurveyedImage read(const SurveyItem& item) const;
  // The file's bytes; of an item that is no file, its pixels. Throws DataError.
  std::vector<std::byte> read_bytes(const SurveyItem& item) const;

 private:
  void add_folder(const std::filesystem::path& folder);
  void add_idx(const DatasetPointer& dataset, SplitKind split);
  void add(SurveyItem item);

  vision::DecodeLimits limits_;
  std::vector<SurveyItem> items_;
  std::vector<CheckedClass> classes_;
  std::optional<FolderScan> scan_;
  DatasetPointer idx_[3];  // by SplitKind
};

}  // namespace vretnet::datasets
