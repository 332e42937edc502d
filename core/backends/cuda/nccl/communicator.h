// Sums over the GPUs of one process by NCCL, in a stream of their own beside the one that computes.
#pragma once

#include <memory>
#include <vector>

#include "core/backends/cuda/device.h"
#include "core/ops/communicator.h"

namespace vretnet::cuda {

// A communicator for each device; `streams` are the ones that compute there, which outlive it. Throws
// UsageError where this build has no NCCL, RunError when NCCL cannot connect the devices.
std::vector<std::unique_ptr<Communicator>> make_communicators(const std::vector<Device>& devices,
                                                              const std::vector<const Stream*>& streams);

}  // namespace vretnet::cuda
