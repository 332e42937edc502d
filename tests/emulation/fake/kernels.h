// The kernels that the fake runtime can launch.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace vretnet::emulation {

using CallKernel = std::function<void(void** arguments)>;

// Idempotent. `sizes`: bytes of each argument; `call` runs the kernel's body for the running thread.
void introduce_kernel(const void* kernel, const std::vector<std::size_t>& sizes, const CallKernel& call);

}  // namespace vretnet::emulation
