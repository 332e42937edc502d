// The GPU backend: cuBLASLt for products, cuDNN for convolutions, own kernels for all else. README.md beside
// this file says how it is built and proved, and what is not proved.
#pragma once

#include <memory>
#include <vector>

#include "core/ops/backend.h"

namespace vretnet {

// f32 and bf16 on CUDA device `device`. Work is queued on one stream; `download` and `synchronize` wait for
// it. One thread at a time may call it. Throws UsageError where there is no such device or it cannot run
// this, RunError when a call fails.
std::unique_ptr<Backend> make_cuda_backend(int device);

// Devices of one kind that train together: a thread each, with communicators where they are several. Throws
// UsageError where one is named twice, they are of different kinds, or this build has no NCCL.
std::vector<std::unique_ptr<Backend>> make_cuda_backends(const std::vector<int>& devices);

}  // namespace vretnet
