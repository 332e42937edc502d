// Patches: pixels gathered into the rows that a patch weight multiplies.
#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/parallel.h"

namespace vretnet::onednn {
namespace {

// One row of pixels (row u of its patches) into the rows of all its patches. kChannels 0: any number.
template <std::int64_t kChannels>
void gather_row(const float* x, std::int64_t pixel_stride, float* y, std::int64_t patch_stride,
                std::int64_t patches, std::int64_t patch, std::int64_t any_channels) {
  const std::int64_t channels = kChannels == 0 ? any_channels : kChannels;
  for (std::int64_t j = 0; j < patches; ++j) {
    const float* from = x + j * patch * pixel_stride;
    float* to = y + j * patch_stride;
    for (std::int64_t v = 0; v < patch; ++v) {
      for (std::int64_t c = 0; c < channels; ++c) to[c * patch * patch + v] = from[v * pixel_stride + c];
    }
  }
}

}  // namespace

void run(const ops::Patches& op) {
  if (op.y.elements() == 0) return;
  const std::int64_t batch = op.x.extent(0), height = op.x.extent(1), channels = op.x.extent(3),
                     patch = op.patch;
  const std::int64_t patches = op.x.extent(2) / patch;  // of one row of patches
  const auto gather = channels == 1 ? gather_row<1> : channels == 3 ? gather_row<3> : gather_row<0>;
  for_ranges(batch * height, op.x.extent(2) * channels, [&](Range range) {
    for (std::int64_t item = range.begin; item < range.end; ++item) {
      const std::int64_t image = item / height, pixel_row = item % height;
      const std::int64_t first_patch = pixel_row / patch * patches;
      const float* x = op.x.data<float>() + image * op.x.stride(0) + pixel_row * op.x.stride(1);
      float* y = op.y.data<float>() + image * op.y.stride(0) + first_patch * op.y.stride(1);
      gather(x, op.x.stride(2), y + pixel_row % patch * patch, op.y.stride(1), patches, patch, channels);
    }
  });
}

}  // namespace vretnet::onednn
