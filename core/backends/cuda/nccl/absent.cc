// In place of communicator.cc where NCCL was not found.
#include "core/backends/cuda/nccl/communicator.h"
#include "core/base/error.h"

namespace vretnet::cuda {

std::vector<std::unique_ptr<Communicator>> make_communicators(const std::vector<Device>&,
                                                              const std::vector<const Stream*>&) {
  throw UsageError(
      "--device cuda:N,M: several GPUs need NCCL, which was not found when this program was built");
}

}  // namespace vretnet::cuda
