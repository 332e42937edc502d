// Labelled pictures, whatever they are stored in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vision/image/image.h"
#include "vision/image/lazy_image.h"

namespace vretnet::datasets {

// Immutable; all functions may be called by several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual std::int64_t size() const = 0;
  // Class c is named class_names()[c]; labels are 0 … class_names().size() − 1.
  virtual const std::vector<std::string>& class_names() const = 0;
  virtual std::int32_t label(std::int64_t index) const = 0;
  // What messages call the sample: a file's path (its bytes as they are, UTF-8 or not), or
  // "train-images-idx3-ubyte.gz#123".
  virtual std::string name(std::int64_t index) const = 0;
  // The 8-bit picture, upright, with `channels` 1 (grey) or 3 (RGB). Throws DataError naming the sample.
  virtual vision::Image read(std::int64_t index, int channels) const = 0;
  // The same picture, its pixels not yet decoded where that can be put off. May refer to this data set's
  // memory.
  virtual vision::LazyImage open(std::int64_t index, int channels) const {
    return vision::LazyImage(read(index, channels));
  }
  // Reading costs a copy and nothing more: a cache would only take memory.
  virtual bool in_memory() const { return false; }
};

using DatasetPointer = std::shared_ptr<const Dataset>;

// Samples of each class, by label.
std::vector<std::int64_t> class_counts(const Dataset& dataset);

}  // namespace vretnet::datasets
