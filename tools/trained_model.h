// The model of a command that needs one with trained weights.
#pragma once

#include <string>

#include "vision/model_file.h"

namespace vretnet::tools {

// As vision::load_classifier; says so where `model` is a name of `vretnet models`, which has no weights.
// `command` is for the message: "predict".
vision::Classifier load_trained(const std::string& model, const std::string& command);

}  // namespace vretnet::tools
