#include "core/training/drop_path.h"

#include "core/base/ensure.h"
#include "core/base/random.h"

namespace vretnet::training {
namespace {

// Tells this use of the seed from those of datasets/order.h and of mixing.cc.
constexpr std::uint64_t kDropPathPurpose = 8;

}  // namespace

std::vector<double> drop_rates(double rate, std::span<const double> depths) {
  ensure(rate >= 0 && rate < 1, "a drop-path rate of {}", rate);
  std::vector<double> rates;
  for (const double depth : depths) rates.push_back(rate * depth);
  return rates;
}

void fill_branch_scales(std::uint64_t seed, std::span<const double> rates, std::int64_t epoch,
                        std::int64_t first_image, std::int64_t count, std::span<float> scales) {
  const std::int64_t images = std::ssize(scales) / std::ssize(rates);
  ensure(count <= images, "{} images, and room for {}", count, images);
  for (std::int64_t i = 0; i < count; ++i) {
    Random random(seed, {kDropPathPurpose, static_cast<std::uint64_t>(epoch),
                         static_cast<std::uint64_t>(first_image + i)});
    for (std::size_t branch = 0; branch < rates.size(); ++branch) {
      const double rate = rates[branch];
      scales[branch * static_cast<std::size_t>(images) + static_cast<std::size_t>(i)] =
          random.uniform() < rate ? 0.0f : static_cast<float>(1 / (1 - rate));
    }
  }
}

}  // namespace vretnet::training
