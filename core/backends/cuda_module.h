// The GPU backend lies in a module of its own, libvretnet_cuda.so, so that the program starts without any
// CUDA library and without the half second that they take.
#pragma once

#include <memory>
#include <vector>

#include "core/ops/backend.h"

namespace vretnet {

// Loads the module from beside the program, from ../lib, or from where the system looks, and opens these CUDA
// devices, with communicators where they are several. Throws UsageError where this build has no module, a
// CUDA library is missing, or the devices cannot be used.
std::vector<std::unique_ptr<Backend>> load_cuda_backends(const std::vector<int>& devices);

}  // namespace vretnet
