// --class-weights: how much an image of each class counts in the loss.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vretnet::tools {

// Whether the flag's value is none of the words but a file.
bool names_weight_file(const std::string& how);

// One weight a class, or none at all for "none". "inv" is 1/images, "sqrt-inv" 1/√images, both scaled so that
// an image counts 1 on average; a class without images has 1. Else `how` is a JSON file {"cat": 2, "dog":
// 0.5} that names every class; its numbers are taken as they are. Throws UsageError, which names the flag.
std::vector<float> class_weights(const std::string& how, const std::vector<std::int64_t>& images,
                                 const std::vector<std::string>& class_names);

}  // namespace vretnet::tools
