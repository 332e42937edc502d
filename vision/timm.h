// Vision transformers of timm: their state dicts as safetensors, without metadata of ours.
#pragma once

#include <vector>

#include "core/model/safetensors.h"
#include "vision/model_file.h"

namespace vretnet::vision {

// What a timm ViT is, from its names and shapes: heads are width / 64; preprocessing is mean = deviation =
// 0.5, bicubic, crop fraction 0.9; classes are named by their numbers. Throws UsageError naming the file and
// what is missing when it is none.
Description describe_timm(const model::SafetensorsFile& file);

// The values of such a file, laid out for `model`, whose image size may differ from the file's: positions are
// resampled then. Throws UsageError where another tensor does not fit.
std::vector<float> read_timm_values(const model::SafetensorsFile& file, const VisionModel& model);

// Positions [prefix + rows · columns, width] for another grid: the first `prefix` tokens are kept, the others
// are resampled as an image, bicubic and antialiased (timm's resample_abs_pos_embed).
struct Grid {
  std::int64_t rows = 0, columns = 0;
  bool operator==(const Grid&) const = default;
};
std::vector<float> resample_positions(const std::vector<float>& positions, std::int64_t prefix,
                                      const Grid& from, const Grid& to);

}  // namespace vretnet::vision
