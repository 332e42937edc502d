// The model of a command that needs one with trained weights.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "vision/model_file.h"

namespace vretnet::tools {

// As vision::load_classifier; says so where `model` is a name of `vretnet models`, which has no weights.
// `command` is for the message: "predict".
vision::Classifier load_trained(const std::string& model, const std::string& command);

// Another image size than the file's.
struct ImageSizeFlags {
  std::string image_size, base_grid;  // "": the file's
  // The flag that is given, or "".
  std::string given() const;
};
void add_image_size_flags(CLI::App& app, ImageSizeFlags& flags);
// load_trained() at that size: learned positions are resampled, decays and rotations keep their place in the
// image unless --base-grid says otherwise.
vision::Classifier load_trained(const std::string& model, const std::string& command,
                                const ImageSizeFlags& flags);

}  // namespace vretnet::tools
