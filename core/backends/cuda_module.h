// The GPU backend lies in a module of its own, libvretnet_cuda.so, so that the program starts without any
// CUDA library and without the half second that they take.
#pragma once

#include <memory>

#include "core/ops/backend.h"

namespace vretnet {

// Loads the module from beside the program, from ../lib, or from where the system looks, and opens CUDA
// device `device`. Throws UsageError where this build has no module, a CUDA library is missing, or the device
// cannot be used.
std::unique_ptr<Backend> load_cuda_backend(int device);

}  // namespace vretnet
