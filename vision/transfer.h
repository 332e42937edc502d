// The values of one model as the start of another: fine-tuning for other classes or another image size.
#pragma once

#include <cstdint>
#include <vector>

#include "vision/model_file.h"

namespace vretnet::vision {

struct Grid {
  std::int64_t rows = 0, columns = 0;
  bool operator==(const Grid&) const = default;
};

// Positions [prefix + rows · columns, width] for another grid: the first `prefix` tokens are kept, the others
// are resampled as an image, bicubic and antialiased (timm's resample_abs_pos_embed).
std::vector<float> resample_positions(const std::vector<float>& positions, std::int64_t prefix,
                                      const Grid& from, const Grid& to);

// `config` is that of a model `from` for images of another size. Where neither names a base grid it gets the
// grid of `from`: decays and rotations reach as far in the image as before. Attention has neither.
void keep_base_grid(ModelConfig& config, const ModelConfig& from);

struct StartValues {
  std::vector<float> values;  // laid out by the new model's parameters
  bool new_head = false;      // the head did not fit: it has first values
  bool new_decays = false;    // the file's are fixed: those to be learned start from them
  bool resampled = false;     // learned positions are for another grid than the file's
};

// `seed` is for the tensors that start anew. Throws UsageError "'blocks.0.norm1.weight' is [96], the changed
// model needs [64]" where another tensor than the head or the positions does not fit, and "…, the changed
// model has none: …" where something learned would be lost.
StartValues start_values(const Classifier& file, const VisionModel& model, std::uint64_t seed);

// The same classifier for the images of `config`, which differs from its own in image_size and base_grid
// only. Learned positions are resampled; without any, values are as they were. Throws UsageError where the
// model cannot read that size.
Classifier at_image_size(Classifier classifier, const ModelConfig& config);

}  // namespace vretnet::vision
