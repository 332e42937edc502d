#include "core/training/synthetic_source.h"

#include <numeric>

#include "core/base/random.h"

namespace vretnet::training {

SyntheticSource::SyntheticSource(const Shape& shape, std::int64_t classes)
    : images_(static_cast<std::size_t>(shape.elements())),
      labels_(static_cast<std::size_t>(shape[0])),
      indices_(labels_.size()) {
  Random random(1);
  for (float& value : images_) value = static_cast<float>(random.normal());
  for (std::int32_t& label : labels_) {
    label = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(classes)));
  }
  std::iota(indices_.begin(), indices_.end(), 0);
  batch_ = {shape[0], 0, images_.data(), labels_.data(), indices_.data()};
}

void SyntheticSource::start_epoch(std::int64_t, std::int64_t) {}

}  // namespace vretnet::training
