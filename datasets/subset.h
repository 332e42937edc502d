// Parts of a data set: limits, splits, and other names for the classes.
#pragma once

#include <utility>

#include "datasets/dataset.h"

namespace vretnet::datasets {

class Subset : public Dataset {
 public:
  // Sample i is sample indices[i] of `whole`.
  Subset(DatasetPointer whole, std::vector<std::int64_t> indices);

  std::int64_t size() const override { return std::int64_t(indices_.size()); }
  const std::vector<std::string>& class_names() const override { return whole_->class_names(); }
  std::int32_t label(std::int64_t index) const override { return whole_->label(whole_index(index)); }
  std::string name(std::int64_t index) const override { return whole_->name(whole_index(index)); }
  vision::Image read(std::int64_t index, int channels) const override {
    return whole_->read(whole_index(index), channels);
  }
  vision::LazyImage open(std::int64_t index, int channels) const override {
    return whole_->open(whole_index(index), channels);
  }
  bool in_memory() const override { return whole_->in_memory(); }

 private:
  std::int64_t whole_index(std::int64_t index) const { return indices_[std::size_t(index)]; }
  DatasetPointer whole_;
  std::vector<std::int64_t> indices_;
};

// Two parts of 0 … labels.size() − 1, each sorted. `second` takes `share` (0 … 1) of every class, rounded,
// drawn by `seed`; where the share is neither 0 nor 1, a class of two or more samples leaves at least one on
// each side, and a single sample stays in the first.
struct SplitIndices {
  std::vector<std::int64_t> first, second;
};
SplitIndices stratified_split(const std::vector<std::int32_t>& labels, double share, std::uint64_t seed);

// `count` indices, sorted, of the same proportions of classes as far as whole samples allow (largest
// remainders), drawn by `seed`. All where there are no more than `count`.
std::vector<std::int64_t> stratified_limit(const std::vector<std::int32_t>& labels, std::int64_t count,
                                           std::uint64_t seed);

std::vector<std::int32_t> all_labels(const Dataset& dataset);

// The same samples under `class_names`, a model's for example: labels follow the names. Throws DataError,
// which names it, where a class that has samples is missing there.
DatasetPointer with_class_names(DatasetPointer dataset, const std::vector<std::string>& class_names);

}  // namespace vretnet::datasets
