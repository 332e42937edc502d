// The CPU backend: oneDNN for products and convolutions, own vector kernels for all else, OpenMP threads.
#pragma once

#include <memory>

#include "core/ops/backend.h"

namespace vretnet {

// f32 only. `threads` ≥ 1 compute threads. Results have equal bits for equal `threads`, processor kind and
// build. One thread at a time may call it.
std::unique_ptr<Backend> make_onednn_backend(int threads);

}  // namespace vretnet
