#include "core/backends/cuda/nccl/communicator.h"

#include <fmt/format.h>
#include <nccl.h>

#include <atomic>

#include "core/base/ensure.h"
#include "core/base/error.h"

namespace vretnet::cuda {
namespace {

void require(ncclResult_t result, const char* doing) {
  if (result == ncclSuccess) return;
  throw RunError(fmt::format("NCCL: {}: {}", doing, ncclGetErrorString(result)));
}

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(ncclComm_t handle, const Device& device, const Stream& compute)
      : handle_(handle), device_(device), compute_(compute) {}
  ~NcclCommunicator() override {
    cudaSetDevice(device_.index);
    if (aborted_) return;
    cudaStreamSynchronize(sums_.get());  // nothing may use the handle any more
    ncclCommDestroy(handle_);
  }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  void begin_sum(const View& x) override {
    ensure(x.contiguous() && x.dtype() == DType::f32, "a sum over devices of {} {}", name_of(x.dtype()),
           x.shape().text());
    device_.make_current();
    computed_.record(compute_);
    computed_.make_wait(sums_);
    float* data = x.data<float>();
    require(ncclAllReduce(data, data, static_cast<std::size_t>(x.elements()), ncclFloat, ncclSum, handle_,
                          sums_.get()),
            "a sum over devices");
  }
  void wait_for_sums() override {
    device_.make_current();
    summed_.record(sums_);
    summed_.make_wait(compute_);
  }
  void abort() override {
    if (!aborted_.exchange(true)) ncclCommAbort(handle_);
  }

 private:
  ncclComm_t handle_;
  std::atomic<bool> aborted_ = false;
  Device device_;
  const Stream& compute_;
  Stream sums_;
  Event computed_, summed_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_communicators(const std::vector<Device>& devices,
                                                              const std::vector<const Stream*>& streams) {
  std::vector<int> indices;
  for (const Device& device : devices) indices.push_back(device.index);
  std::vector<ncclComm_t> handles(devices.size());
  require(ncclCommInitAll(handles.data(), static_cast<int>(devices.size()), indices.data()),
          "connecting the devices");
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    devices[i].make_current();
    communicators.push_back(std::make_unique<NcclCommunicator>(handles[i], devices[i], *streams[i]));
  }
  return communicators;
}

}  // namespace vretnet::cuda
