#include "datasets/statistics.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "core/base/error.h"
#include "datasets/parallel.h"
#include "datasets/survey.h"

namespace vretnet::datasets {
namespace {

Spread spread_of(std::vector<int> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {values.front(), values[values.size() / 2], values.back()};
}

// Of pixels, in whole numbers: the same whatever the order, and exact up to 2.8e14 of them.
struct Sums {
  std::array<std::uint64_t, 3> values{}, squares{};
  std::uint64_t pixels = 0;

  void add(const vision::Image& image) {
    for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
      for (std::size_t c = 0; c < 3; ++c) {
        const std::uint64_t value = image.pixels[i + c];
        values[c] += value;
        squares[c] += value * value;
      }
    }
    pixels += image.pixels.size() / 3;
  }
  void add(const Sums& other) {
    for (std::size_t c = 0; c < 3; ++c) {
      values[c] += other.values[c];
      squares[c] += other.squares[c];
    }
    pixels += other.pixels;
  }
};

}  // namespace

DataStatistics data_statistics(const std::string& path, const CheckOptions& options) {
  const Survey survey(path, options.decode_limits);
  DataStatistics statistics;
  statistics.classes = survey.classes();
  Sums sums;
  std::vector<int> widths, heights;
  std::mutex mutex;  // guards all of the above
  const auto look_at = [&](std::int64_t i) {
    const SurveyItem& item = survey.items()[std::size_t(i)];
    SurveyedImage surveyed;
    try {
      surveyed = survey.read(item);
    } catch (const DataError&) {
      const std::lock_guard lock(mutex);
      ++statistics.unreadable;
      return;
    }
    Sums own;
    if (item.split == SplitKind::Train) own.add(surveyed.image);
    const std::lock_guard lock(mutex);
    sums.add(own);
    ++statistics.images;
    widths.push_back(surveyed.image.width);
    heights.push_back(surveyed.image.height);
    ++statistics.formats[surveyed.format];
    for (const std::string& kind : surveyed.kinds) ++statistics.kinds[kind];
  };
  for_each(std::int64_t(survey.items().size()), options.workers, look_at, options.progress);
  statistics.width = spread_of(std::move(widths));
  statistics.height = spread_of(std::move(heights));
  if (sums.pixels == 0) return statistics;
  for (std::size_t c = 0; c < 3; ++c) {
    const double mean = double(sums.values[c]) / double(sums.pixels);
    const double variance = double(sums.squares[c]) / double(sums.pixels) - mean * mean;
    statistics.mean[c] = mean / 255;
    statistics.deviation[c] = std::sqrt(std::max(0.0, variance)) / 255;
  }
  return statistics;
}

}  // namespace vretnet::datasets
