#include "datasets/image_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/base/did_you_mean.h"
#include "core/base/error.h"

namespace vretnet::datasets {

ImageFolder::ImageFolder(const ScannedSplit& split, std::vector<std::string> class_names,
                         const vision::DecodeLimits& limits)
    : class_names_(std::move(class_names)), limits_(limits) {
  for (const ScannedClass& scanned : split.classes) {
    const auto place = std::find(class_names_.begin(), class_names_.end(), scanned.name);
    if (place == class_names_.end()) {
      throw DataError(fmt::format("{}: class '{}' is not one of the {} classes that are trained.{}",
                                  split.folder.string(), scanned.name, class_names_.size(),
                                  did_you_mean(scanned.name, class_names_)));
    }
    files_.insert(files_.end(), scanned.files.begin(), scanned.files.end());
    labels_.resize(files_.size(), std::int32_t(std::distance(class_names_.begin(), place)));
  }
}

vision::Image ImageFolder::read(std::int64_t index, int channels) const {
  return vision::read_image(file(index), limits_, channels);
}

vision::LazyImage ImageFolder::open(std::int64_t index, int channels) const {
  const std::filesystem::path& path = file(index);
  return vision::LazyImage(vision::read_image_bytes(path, limits_), path.string(), limits_, channels);
}

std::vector<std::string> scanned_class_names(const ScannedSplit& split) {
  std::vector<std::string> names;
  for (const ScannedClass& scanned : split.classes) {
    if (scanned.files.empty()) {
      throw DataError(fmt::format(
          "{}: the class folder holds no image (files .jpg .jpeg .jpe .jfif .png .bmp .tif .tiff .webp)",
          (split.folder / scanned.name).string()));
    }
    names.push_back(scanned.name);
  }
  if (names.empty()) {
    throw DataError(fmt::format("{}: no class folders here; expected CLASS/IMAGE or train/CLASS/IMAGE",
                                split.folder.string()));
  }
  return names;
}

}  // namespace vretnet::datasets
