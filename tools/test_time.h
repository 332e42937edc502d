// --tta: what eval and predict look at beside each image itself.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "core/training/predictor.h"

namespace vretnet::tools {

void add_test_time_flag(CLI::App& app, std::string& name);
training::TestTimeAugmentation test_time_augmentation(const std::string& name);

}  // namespace vretnet::tools
