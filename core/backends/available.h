// The machines that this build can run on: the only place that names them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/ops/backend.h"

namespace vretnet {

// Of the CPU, the fastest first.
std::vector<std::string> available_backends();

// One of these, or "cuda" or "cuda:N": the GPU with number N, from 0.
// `threads` is how many compute threads it may use (≥ 1); the reference always uses one. Throws UsageError,
// listing what is available, for an unknown name, and saying what is missing where there is no such GPU.
std::unique_ptr<Backend> make_backend(const std::string& name, int threads);

// The same, or "cuda:N,M,…": several GPUs of one kind that train together. At least one.
std::vector<std::unique_ptr<Backend>> make_backends(const std::string& name, int threads);

}  // namespace vretnet
