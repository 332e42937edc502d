// What a model costs, for the lines and tables that say it.
#pragma once

#include <string>

#include "vision/vision_model.h"

namespace vretnet::tools {

// Arithmetic of one image forward: a dry run through a backend that only counts.
double forward_flops(const vision::VisionModel& model);

// "54.53 M"
std::string count_text(double count);

}  // namespace vretnet::tools
