#include "datasets/survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "core/base/error.h"
#include "datasets/idx.h"
#include "datasets/registry.h"

namespace vretnet::datasets {
namespace {

SplitKind kind_of(const ScannedSplit& split) {
  if (split.name == "val") return SplitKind::Val;
  return split.name == "test" ? SplitKind::Test : SplitKind::Train;
}

}  // namespace

Survey::Survey(const std::string& path, const vision::DecodeLimits& limits) : limits_(limits) {
  const std::filesystem::path folder = resolve_data_path(path);
  if (find_idx_files(folder)) {
    const DataSplits splits = open_data(path, {.val_split = 0});
    for (const std::string& name : splits.class_names) classes_.push_back({name});
    add_idx(splits.train, SplitKind::Train);
    if (splits.val) add_idx(splits.val, SplitKind::Val);
  } else {
    add_folder(folder);
  }
  if (items_.empty()) throw DataError(fmt::format("{}: no images here", path));
}

void Survey::add_folder(const std::filesystem::path& folder) {
  scan_ = scan_folder(folder);
  std::map<std::string, int> places;  // sorted by name
  for (const ScannedSplit& split : scan_->splits) {
    for (const ScannedClass& scanned : split.classes) places[scanned.name] = 0;
  }
  for (auto& [name, place] : places) {
    place = int(classes_.size());
    classes_.push_back({name});
  }
  for (const auto& file : scan_->loose) add({file.string(), file});
  for (const ScannedSplit& split : scan_->splits) {
    for (const auto& file : split.loose) add({file.string(), file, 0, -1, kind_of(split)});
    for (const ScannedClass& scanned : split.classes) {
      for (const auto& file : scanned.files) {
        add({file.string(), file, 0, places[scanned.name], kind_of(split)});
      }
    }
  }
}

void Survey::add_idx(const DatasetPointer& dataset, SplitKind split) {
  idx_[int(split)] = dataset;
  for (std::int64_t i = 0; i < dataset->size(); ++i) add({dataset->name(i), {}, i, dataset->label(i), split});
}

void Survey::add(SurveyItem item) {
  if (item.class_index >= 0) {
    CheckedClass& counts = classes_[std::size_t(item.class_index)];
    ++(item.split == SplitKind::Train ? counts.train
       : item.split == SplitKind::Val ? counts.val
                                      : counts.test);
  }
  items_.push_back(std::move(item));
}

SurveyedImage Survey::read(const SurveyItem& item) const {
  SurveyedImage result;
  if (item.file.empty()) {
    result.image = idx_[int(item.split)]->read(item.index, 3);
    result.format = "IDX";
    result.kinds = {"grey"};
    return result;
  }
  const std::vector<std::byte> bytes = vision::read_image_bytes(item.file, limits_);
  const vision::ImageInfo info = vision::probe_image(bytes, item.name);
  vision::DecodeNotes notes;
  result.image = vision::decode_image(bytes, item.name, limits_, 3, &notes);
  result.format = vision::format_name(info.format);
  result.kinds = {info.channels < 3 && !info.palette ? "grey" : "RGB"};
  for (const std::string& kind : notes.conversions) {
    if (kind != "grey") result.kinds.push_back(kind);
  }
  return result;
}

std::vector<std::byte> Survey::read_bytes(const SurveyItem& item) const {
  if (!item.file.empty()) return vision::read_image_bytes(item.file, limits_);
  const vision::Image image = idx_[int(item.split)]->read(item.index, 1);
  std::vector<std::byte> bytes(image.pixels.size());
  std::memcpy(bytes.data(), image.pixels.data(), bytes.size());
  return bytes;
}

}  // namespace vretnet::datasets
