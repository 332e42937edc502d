// The machines that this build can run on: the only place that names them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/ops/backend.h"

namespace vretnet {

// The fastest first.
std::vector<std::string> available_backends();

// `threads` is how many compute threads it may use (≥ 1); the reference always uses one. Throws UsageError,
// listing what is available, for an unknown name.
std::unique_ptr<Backend> make_backend(const std::string& name, int threads);

}  // namespace vretnet
