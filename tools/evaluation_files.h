// The files that an evaluation leaves in a folder: confusion.csv, confusion.svg, per_class.csv,
// top_losses.csv.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/training/metrics.h"

namespace vretnet::tools {

// `name_of(index)` is the file of a sample. top_losses.csv lists the `top_losses` worst predictions, all
// wrong ones first. Throws RunError where a file cannot be written.
void write_evaluation_files(const std::filesystem::path& folder, const training::Evaluation& evaluation,
                            const std::vector<std::string>& class_names,
                            const std::function<std::string(std::int64_t index)>& name_of,
                            std::size_t top_losses);

// Wrong predictions, worst first, then right ones; at most `count`.
std::vector<training::Prediction> worst_predictions(const training::Evaluation& evaluation,
                                                    std::size_t count);

}  // namespace vretnet::tools
