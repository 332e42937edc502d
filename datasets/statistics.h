// What `data stats` shows: sizes, kinds and brightness of the pictures of a data set.
#pragma once

#include <array>
#include <map>

#include "datasets/checks.h"

namespace vretnet::datasets {

struct Spread {
  int minimum = 0, median = 0, maximum = 0;
};

struct DataStatistics {
  std::vector<CheckedClass> classes;
  std::int64_t images = 0;                      // read
  std::int64_t unreadable = 0;                  // left out of everything below
  Spread width, height;                         // upright, in pixels
  std::map<std::string, std::int64_t> formats;  // "JPEG", "PNG", "IDX" → images
  // "RGB", "grey", and what decoding did beside: "palette", "CMYK", "16-bit", "orientation 6" … → images
  std::map<std::string, std::int64_t> kinds;
  // Of red, green and blue over all pixels of the training part, on a scale of 0 … 1: what to normalise by.
  std::array<double, 3> mean{}, deviation{};
};

// Throws as open_data does.
DataStatistics data_statistics(const std::string& path, const CheckOptions& options = {});

}  // namespace vretnet::datasets
