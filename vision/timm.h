// Vision transformers of timm: their state dicts as safetensors, without metadata of ours.
#pragma once

#include "core/model/safetensors.h"
#include "vision/model_file.h"

namespace vretnet::vision {

// What a timm ViT is, from its names and shapes: heads are width / 64; preprocessing is mean = deviation =
// 0.5, bicubic, crop fraction 0.9; classes are named by their numbers. Throws UsageError naming the file and
// what is missing when it is none.
Description describe_timm(const model::SafetensorsFile& file);

}  // namespace vretnet::vision
