// Mixup (Zhang et al. 2017, arXiv 1710.09412) and cutmix (Yun et al. 2019, arXiv 1905.04899) as timm does
// them a batch at a time: image i is mixed with image n − 1 − i of its batch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/tensor/view.h"
#include "core/training/batch_source.h"

namespace vretnet::training {

struct MixingOptions {
  double mixup = 0, cutmix = 0;     // α of Beta(α, α), from which the shares are drawn; 0: off
  double probability = 1;           // that a batch is mixed
  double switch_probability = 0.5;  // that it is cutmix, where both are on
  std::int64_t off_epoch = 0;       // epochs are mixed up to this one (counted from 0); 0: all
  std::uint64_t seed = 42;

  bool on() const { return mixup > 0 || cutmix > 0; }
};

// Rows top … bottom − 1, columns left … right − 1.
struct CutBox {
  std::int64_t top = 0, bottom = 0, left = 0, right = 0;
  bool operator==(const CutBox&) const = default;
};

// How one batch is mixed.
struct Mix {
  double own_share = 1;  // λ: of each image itself; 1: the batch stays as it is
  bool cut = false;      // cutmix: `box` is the other image's, and λ the part that it leaves
  CutBox box;
};

// A square of the image's proportions around (y, x) that leaves `own_share` of the area, cut off at the
// borders.
CutBox cut_box(std::int64_t height, std::int64_t width, double own_share, std::int64_t y, std::int64_t x);

// λ, corrected: the part of the image that the box leaves.
double share_outside(const CutBox& box, std::int64_t height, std::int64_t width);

// A function of (seed, epoch, batch) and nothing else.
Mix draw_mix(const MixingOptions& options, std::int64_t epoch, std::int64_t batch, std::int64_t height,
             std::int64_t width);

// What a loss is to expect: `targets` [batch.count, classes] are one-hot rows, or of a mixed batch λ for an
// image's own label and 1 − λ for the other's.
void fill_targets(const Batch& batch, std::int64_t classes, std::span<float> targets);

// The label that the larger part of an image belongs to, its own where both are equal.
std::int32_t heavier_label(const Batch& batch, std::int64_t image);

// A source whose batches are mixed. `source` must outlive it; both take one batch's memory of images.
class MixingSource : public BatchSource {
 public:
  // `shape` of the largest batch, [batch, height, width, channels].
  MixingSource(BatchSource& source, const MixingOptions& options, const Shape& shape);

  std::int64_t size() const override { return source_.size(); }
  std::int64_t batches() const override { return source_.batches(); }
  std::int64_t batch_size() const override { return source_.batch_size(); }
  void start_epoch(std::int64_t epoch, std::int64_t first_batch) override;
  const Batch* next() override;
  const std::vector<SkippedSample>& skipped() const override { return source_.skipped(); }

 private:
  void blend(const Batch& batch, double own_share);
  void paste(const Batch& batch, const CutBox& box);

  BatchSource& source_;
  MixingOptions options_;
  std::int64_t height_, width_, channels_;
  std::int64_t epoch_ = 0;
  std::vector<float> images_;
  std::vector<std::int32_t> other_labels_;
  Batch mixed_;
};

}  // namespace vretnet::training
