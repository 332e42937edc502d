#include "core/training/mixing.h"

#include <algorithm>
#include <cmath>

#include "core/base/beta.h"
#include "core/base/ensure.h"
#include "core/base/random.h"

namespace vretnet::training {
namespace {

// Tells this use of the seed from those of datasets/order.h.
constexpr std::uint64_t kMixingPurpose = 7;

}  // namespace

CutBox cut_box(std::int64_t height, std::int64_t width, double own_share, std::int64_t y, std::int64_t x) {
  const double ratio = std::sqrt(1 - own_share);
  const auto cut_height = static_cast<std::int64_t>(static_cast<double>(height) * ratio);
  const auto cut_width = static_cast<std::int64_t>(static_cast<double>(width) * ratio);
  const auto inside = [](std::int64_t place, std::int64_t extent) {
    return std::clamp<std::int64_t>(place, 0, extent);
  };
  return {inside(y - cut_height / 2, height), inside(y + (cut_height + 1) / 2, height),
          inside(x - cut_width / 2, width), inside(x + (cut_width + 1) / 2, width)};
}

double share_outside(const CutBox& box, std::int64_t height, std::int64_t width) {
  const auto area = static_cast<double>((box.bottom - box.top) * (box.right - box.left));
  return 1 - area / static_cast<double>(height * width);
}

Mix draw_mix(const MixingOptions& options, std::int64_t epoch, std::int64_t batch, std::int64_t height,
             std::int64_t width) {
  Mix mix;
  if (!options.on() || (options.off_epoch > 0 && epoch >= options.off_epoch)) return mix;
  Random random(options.seed,
                {kMixingPurpose, static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(batch)});
  if (random.uniform() >= options.probability) return mix;
  const bool both = options.mixup > 0 && options.cutmix > 0;
  mix.cut = both ? random.uniform() < options.switch_probability : options.cutmix > 0;
  const double alpha = mix.cut ? options.cutmix : options.mixup;
  mix.own_share = draw_beta(alpha, alpha, random);
  if (!mix.cut) return mix;
  const auto place = [&](std::int64_t extent) {
    return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(extent)));
  };
  const std::int64_t y = place(height), x = place(width);
  mix.box = cut_box(height, width, mix.own_share, y, x);
  mix.own_share = share_outside(mix.box, height, width);
  return mix;
}

void fill_targets(const Batch& batch, std::int64_t classes, std::span<float> targets) {
  ensure(static_cast<std::int64_t>(targets.size()) >= batch.count * classes,
         "{} targets for {} images of {} classes", targets.size(), batch.count, classes);
  std::fill_n(targets.begin(), batch.count * classes, 0.0f);
  for (std::int64_t i = 0; i < batch.count; ++i) {
    float* row = targets.data() + i * classes;
    row[batch.labels[i]] += batch.own_share;
    if (batch.other_labels != nullptr) row[batch.other_labels[i]] += 1 - batch.own_share;
  }
}

std::int32_t heavier_label(const Batch& batch, std::int64_t image) {
  const bool own = batch.other_labels == nullptr || batch.own_share >= 0.5f;
  return own ? batch.labels[image] : batch.other_labels[image];
}

MixingSource::MixingSource(BatchSource& source, const MixingOptions& options, const Shape& shape)
    : source_(source),
      options_(options),
      height_(shape[1]),
      width_(shape[2]),
      channels_(shape[3]),
      images_(static_cast<std::size_t>(shape.elements())),
      other_labels_(static_cast<std::size_t>(shape[0])) {
  ensure(shape[0] >= source.batch_size(), "room for {} images, batches of {}", shape[0], source.batch_size());
}

void MixingSource::start_epoch(std::int64_t epoch, std::int64_t first_batch) {
  epoch_ = epoch;
  source_.start_epoch(epoch, first_batch);
}

const Batch* MixingSource::next() {
  const Batch* batch = source_.next();
  if (batch == nullptr) return nullptr;
  const Mix mix = draw_mix(options_, epoch_, batch->position, height_, width_);
  if (mix.own_share == 1) return batch;
  if (mix.cut) {
    paste(*batch, mix.box);
  } else {
    blend(*batch, mix.own_share);
  }
  std::reverse_copy(batch->labels, batch->labels + batch->count, other_labels_.begin());
  mixed_ = *batch;
  mixed_.images = images_.data();
  mixed_.other_labels = other_labels_.data();
  mixed_.own_share = static_cast<float>(mix.own_share);
  return &mixed_;
}

void MixingSource::blend(const Batch& batch, double own_share) {
  const std::int64_t values = height_ * width_ * channels_;
  const auto own = static_cast<float>(own_share), other = 1 - own;
  for (std::int64_t i = 0; i < batch.count; ++i) {
    const float *image = batch.images + i * values, *partner = batch.images + (batch.count - 1 - i) * values;
    float* out = images_.data() + i * values;
    for (std::int64_t v = 0; v < values; ++v) out[v] = own * image[v] + other * partner[v];
  }
}

void MixingSource::paste(const Batch& batch, const CutBox& box) {
  const std::int64_t row = width_ * channels_, values = height_ * row;
  std::copy_n(batch.images, batch.count * values, images_.begin());
  for (std::int64_t i = 0; i < batch.count; ++i) {
    const float* partner = batch.images + (batch.count - 1 - i) * values;
    for (std::int64_t y = box.top; y < box.bottom; ++y) {
      const std::int64_t first = y * row + box.left * channels_;
      std::copy_n(partner + first, (box.right - box.left) * channels_, images_.begin() + i * values + first);
    }
  }
}

}  // namespace vretnet::training
