// Batches for measuring: one batch of random images and labels in memory, over and over, so that a step is
// timed without any loading.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor/view.h"
#include "core/training/batch_source.h"

namespace vretnet::training {

class SyntheticSource : public BatchSource {
 public:
  // `shape` [batch, height, width, channels]: pixels are normally distributed, labels uniform in 0 …
  // classes−1.
  SyntheticSource(const Shape& shape, std::int64_t classes);

  std::int64_t size() const override { return batch_.count * batches(); }
  std::int64_t batches() const override { return 1 << 20; }  // an epoch that nobody finishes
  std::int64_t batch_size() const override { return batch_.count; }
  void start_epoch(std::int64_t epoch, std::int64_t first_batch) override;
  const Batch* next() override { return &batch_; }
  const std::vector<SkippedSample>& skipped() const override { return skipped_; }

 private:
  std::vector<float> images_;
  std::vector<std::int32_t> labels_;
  std::vector<std::int64_t> indices_;
  Batch batch_;
  std::vector<SkippedSample> skipped_;
};

}  // namespace vretnet::training
