#include "datasets/subset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "core/base/did_you_mean.h"
#include "core/base/ensure.h"
#include "core/base/error.h"
#include "datasets/order.h"

namespace vretnet::datasets {
namespace {

// The samples of every class in an order drawn by (seed, purpose, label).
std::map<std::int32_t, std::vector<std::int64_t>> shuffled_classes(const std::vector<std::int32_t>& labels,
                                                                   std::uint64_t seed, Purpose purpose) {
  std::map<std::int32_t, std::vector<std::int64_t>> classes;
  for (std::size_t i = 0; i < labels.size(); ++i) classes[labels[i]].push_back(std::int64_t(i));
  for (auto& [label, members] : classes) {
    shuffle(members, Random(seed, {std::uint64_t(purpose), std::uint64_t(label)}));
  }
  return classes;
}

class Renamed : public Dataset {
 public:
  Renamed(DatasetPointer dataset, std::vector<std::string> class_names, std::vector<std::int32_t> new_labels)
      : dataset_(std::move(dataset)),
        class_names_(std::move(class_names)),
        new_labels_(std::move(new_labels)) {}

  std::int64_t size() const override { return dataset_->size(); }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  std::int32_t label(std::int64_t index) const override {
    return new_labels_[std::size_t(dataset_->label(index))];
  }
  std::string name(std::int64_t index) const override { return dataset_->name(index); }
  vision::Image read(std::int64_t index, int channels) const override {
    return dataset_->read(index, channels);
  }
  vision::LazyImage open(std::int64_t index, int channels) const override {
    return dataset_->open(index, channels);
  }
  bool in_memory() const override { return dataset_->in_memory(); }

 private:
  DatasetPointer dataset_;
  std::vector<std::string> class_names_;
  std::vector<std::int32_t> new_labels_;
};

}  // namespace

Subset::Subset(DatasetPointer whole, std::vector<std::int64_t> indices)
    : whole_(std::move(whole)), indices_(std::move(indices)) {
  for (const std::int64_t index : indices_) {
    ensure(index >= 0 && index < whole_->size(), "index {} of {}", index, whole_->size());
  }
}

SplitIndices stratified_split(const std::vector<std::int32_t>& labels, double share, std::uint64_t seed) {
  ensure(share >= 0 && share <= 1, "share {}", share);
  SplitIndices parts;
  for (const auto& [label, members] : shuffled_classes(labels, seed, Purpose::Split)) {
    const std::int64_t count = std::int64_t(members.size());
    std::int64_t taken = std::llround(share * double(count));
    if (share > 0 && share < 1) taken = count < 2 ? 0 : std::clamp<std::int64_t>(taken, 1, count - 1);
    parts.second.insert(parts.second.end(), members.begin(), members.begin() + taken);
    parts.first.insert(parts.first.end(), members.begin() + taken, members.end());
  }
  std::sort(parts.first.begin(), parts.first.end());
  std::sort(parts.second.begin(), parts.second.end());
  return parts;
}

std::vector<std::int64_t> stratified_limit(const std::vector<std::int32_t>& labels, std::int64_t count,
                                           std::uint64_t seed) {
  const std::int64_t total = std::int64_t(labels.size());
  std::vector<std::int64_t> chosen;
  if (count >= total) {
    chosen.resize(labels.size());
    std::iota(chosen.begin(), chosen.end(), 0);
    return chosen;
  }
  ensure(count >= 0, "limit {}", count);
  const auto classes = shuffled_classes(labels, seed, Purpose::Limit);
  // Whole parts first; what is left goes to the largest remainders, of equal ones to the lower label.
  std::map<std::int32_t, std::int64_t> quota;
  std::vector<std::pair<std::int64_t, std::int32_t>>
      remainders;  // negated, so that sorting puts large ones first
  std::int64_t given = 0;
  for (const auto& [label, members] : classes) {
    const std::int64_t scaled = count * std::int64_t(members.size());
    quota[label] = scaled / total;
    given += quota[label];
    remainders.emplace_back(-(scaled % total), label);
  }
  std::sort(remainders.begin(), remainders.end());
  for (std::size_t i = 0; given < count; ++i, ++given) ++quota[remainders[i].second];
  for (const auto& [label, members] : classes) {
    chosen.insert(chosen.end(), members.begin(), members.begin() + quota[label]);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

std::vector<std::int32_t> all_labels(const Dataset& dataset) {
  std::vector<std::int32_t> labels(std::size_t(dataset.size()));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = dataset.label(std::int64_t(i));
  return labels;
}

DatasetPointer with_class_names(DatasetPointer dataset, const std::vector<std::string>& class_names) {
  const std::vector<std::string>& old_names = dataset->class_names();
  if (old_names == class_names) return dataset;
  const std::vector<std::int64_t> counts = class_counts(*dataset);
  std::vector<std::int32_t> new_labels(old_names.size(), 0);
  for (std::size_t i = 0; i < old_names.size(); ++i) {
    const auto place = std::find(class_names.begin(), class_names.end(), old_names[i]);
    if (place == class_names.end()) {
      if (counts[i] == 0) continue;
      throw DataError(
          fmt::format("class '{}' of the data is not one of the {} classes that the model knows.{}",
                      old_names[i], class_names.size(), did_you_mean(old_names[i], class_names)));
    }
    new_labels[i] = std::int32_t(place - class_names.begin());
  }
  return std::make_shared<Renamed>(std::move(dataset), class_names, std::move(new_labels));
}

}  // namespace vretnet::datasets
