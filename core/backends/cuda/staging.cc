#include "core/backends/cuda/staging.h"

#include <algorithm>
#include <cstring>

namespace vretnet::cuda {
namespace {

constexpr std::size_t kLeast = std::size_t{1} << 16;  // bytes of a slot
constexpr std::size_t kDownload = std::size_t{4} << 20;

}  // namespace

Staging::Staging(const Stream& compute) : compute_(compute) {
  require(cudaMallocHost(&down_.pinned, kDownload), "taking pinned memory");
  for (Slot& slot : slots_) grow(slot, kLeast);  // so that an upload finds some, however little is free later
}

Staging::Slot::~Slot() {
  cudaFreeHost(pinned);
  cudaFree(device);
}

void Staging::grow(Slot& slot, std::size_t bytes) {
  if (slot.bytes >= bytes) return;
  std::size_t wanted = std::max(bytes, std::max(kLeast, 2 * slot.bytes));
  if (slot.bytes > 0) {
    slot.used.synchronize();
    require(cudaFreeHost(slot.pinned), "giving back pinned memory");
    require(cudaFree(slot.device), "giving back memory");
    slot.pinned = slot.device = nullptr;
    slot.bytes = 0;
  }
  cudaError_t error = cudaMalloc(&slot.device, wanted);
  for (; error == cudaErrorMemoryAllocation && wanted > kLeast; error = cudaMalloc(&slot.device, wanted)) {
    cudaGetLastError();  // smaller pieces will do, from now on
    most_ = wanted = std::max(kLeast, wanted / 4);
  }
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    slot.device = take_memory(wanted, "an upload's buffer");  // which says how much is free
  } else {
    require(error, "taking memory");
  }
  require(cudaMallocHost(&slot.pinned, wanted), "taking pinned memory");
  slot.bytes = wanted;
}

void Staging::upload(void* target, const void* host, std::size_t bytes) {
  for (std::size_t begin = 0, count = 0; begin < bytes; begin += count) {
    Slot& slot = slots_[next_];
    next_ = (next_ + 1) % slots_.size();
    grow(slot, std::min(most_, bytes - begin));
    count = std::min(slot.bytes, bytes - begin);
    slot.arrived.synchronize();  // its last upload has left the pinned memory
    std::memcpy(slot.pinned, static_cast<const char*>(host) + begin, count);
    slot.used.make_wait(copies_);
    require(cudaMemcpyAsync(slot.device, slot.pinned, count, cudaMemcpyHostToDevice, copies_.get()),
            "an upload");
    slot.arrived.record(copies_);
    slot.arrived.make_wait(compute_);
    require(cudaMemcpyAsync(static_cast<char*>(target) + begin, slot.device, count, cudaMemcpyDeviceToDevice,
                            compute_.get()),
            "an upload");
    slot.used.record(compute_);
  }
}

void Staging::download(const void* source, void* host, std::size_t bytes) {
  for (std::size_t begin = 0; begin < bytes; begin += kDownload) {
    const std::size_t count = std::min(kDownload, bytes - begin);
    require(cudaMemcpyAsync(down_.pinned, static_cast<const char*>(source) + begin, count,
                            cudaMemcpyDeviceToHost, compute_.get()),
            "a download");
    compute_.synchronize();
    std::memcpy(static_cast<char*>(host) + begin, down_.pinned, count);
  }
}

}  // namespace vretnet::cuda
