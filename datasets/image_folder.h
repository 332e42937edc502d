// Image files in one folder a class, as torchvision's ImageFolder has them (layout: folder_scan.h).
#pragma once

#include "datasets/dataset.h"
#include "datasets/folder_scan.h"
#include "vision/image/decode.h"

namespace vretnet::datasets {

class ImageFolder : public Dataset {
 public:
  // The files of `split`, labelled by their class's position in `class_names`: matched by name, never by
  // position. Throws DataError where `split` has a class that `class_names` lacks.
  ImageFolder(const ScannedSplit& split, std::vector<std::string> class_names,
              const vision::DecodeLimits& limits = {});

  std::int64_t size() const override { return std::int64_t(files_.size()); }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  std::int32_t label(std::int64_t index) const override { return labels_[std::size_t(index)]; }
  std::string name(std::int64_t index) const override { return files_[std::size_t(index)].string(); }
  vision::Image read(std::int64_t index, int channels) const override;
  vision::LazyImage open(std::int64_t index, int channels) const override;

  const std::filesystem::path& file(std::int64_t index) const { return files_[std::size_t(index)]; }

 private:
  std::vector<std::string> class_names_;
  std::vector<std::filesystem::path> files_;  // by class, then by name
  std::vector<std::int32_t> labels_;
  vision::DecodeLimits limits_;
};

// The names of the split's classes, in order. Throws DataError where there is none, or where one is empty.
std::vector<std::string> scanned_class_names(const ScannedSplit& split);

}  // namespace vretnet::datasets
