#include "core/backends/cuda/device.h"

#include <fmt/format.h>

#include "core/backends/cuda/launch.h"
#include "core/base/ensure.h"
#include "core/base/error.h"

namespace vretnet::cuda {
namespace {

constexpr int kOldestMajor = 8;  // A100: what the kernels are compiled for at the least
constexpr std::size_t kSharedWithoutAsking = 48 << 10;

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

// f32 multiply-adds of a multiprocessor a clock (CUDA C++ Programming Guide, arithmetic instructions).
double lanes_of(const Device& device) {
  return device.major == 8 && device.minor == 0 ? 64 : 128;
}

}  // namespace

void require(cudaError_t error, const char* doing) {
  if (error == cudaSuccess) return;
  throw RunError(fmt::format("CUDA: {}: {}", doing, cudaGetErrorString(error)));
}

Device Device::open(int index) {
  Device device;
  device.index = index;
  require(cudaRuntimeGetVersion(&device.runtime), "asking for the runtime's version");
  require(cudaDriverGetVersion(&device.driver), "asking for the driver's version");
  if (device.driver == 0) {
    throw UsageError(
        fmt::format("--device cuda: there is no NVIDIA driver; one for CUDA {} or later is needed",
                    version_text(device.runtime)));
  }
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver || device.driver / 1000 < device.runtime / 1000) {
    throw UsageError(
        fmt::format("--device cuda: the NVIDIA driver is for CUDA {}; one for CUDA {} or later is needed",
                    version_text(device.driver), version_text(device.runtime)));
  }
  if (error == cudaErrorNoDevice || count == 0) {
    throw UsageError(
        "--device cuda: the NVIDIA driver finds no GPU; one of compute capability 8.0 or later is needed");
  }
  require(error, "counting devices");
  if (index < 0 || index >= count) {
    throw UsageError(fmt::format("--device cuda:{}: there {} {} GPU{}, numbered from 0", index,
                                 count == 1 ? "is" : "are", count, count == 1 ? "" : "s"));
  }
  cudaDeviceProp properties;
  require(cudaGetDeviceProperties(&properties, index), "asking for a device's properties");
  device.name = properties.name;
  device.major = properties.major;
  device.minor = properties.minor;
  device.memory = properties.totalGlobalMem;
  if (device.major < kOldestMajor) {
    throw UsageError(fmt::format(
        "--device cuda:{}: {} has compute capability {}.{}; {}.0 or later (A100, H100, RTX 30 …) is needed",
        index, device.name, device.major, device.minor, kOldestMajor));
  }
  // Kilohertz and bits; a multiply-add is two operations, memory moves data twice a clock.
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    require(cudaDeviceGetAttribute(&value, which, index), "asking for a device's attributes");
    return static_cast<double>(value);
  };
  device.flops = attribute(cudaDevAttrMultiProcessorCount) * lanes_of(device) * 2 * 1e3 *
                 attribute(cudaDevAttrClockRate);
  device.bandwidth =
      attribute(cudaDevAttrGlobalMemoryBusWidth) / 8 * 2 * 1e3 * attribute(cudaDevAttrMemoryClockRate);
  device.make_current();
  return device;
}

std::string Device::description() const {
  return fmt::format("{}, {:.1f} GiB, compute capability {}.{}, CUDA {}", name,
                     static_cast<double>(memory) / (std::size_t{1} << 30), major, minor,
                     version_text(runtime));
}

void Device::make_current() const {
  require(cudaSetDevice(index), "choosing the device");
}

Stream::Stream() {
  require(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
}
Stream::~Stream() {
  cudaStreamDestroy(stream_);
}
void Stream::synchronize() const {
  require(cudaStreamSynchronize(stream_), "waiting for the device");
}

Event::Event(unsigned flags) {
  require(cudaEventCreateWithFlags(&event_, flags), "making an event");
}
Event::~Event() {
  cudaEventDestroy(event_);
}
void Event::record(const Stream& stream) {
  require(cudaEventRecord(event_, stream.get()), "recording an event");
}
void Event::make_wait(const Stream& stream) const {
  require(cudaStreamWaitEvent(stream.get(), event_, 0), "waiting for an event");
}
void Event::synchronize() const {
  require(cudaEventSynchronize(event_), "waiting for an event");
}

double Event::seconds_since(const Event& earlier) const {
  float milliseconds = 0;
  require(cudaEventElapsedTime(&milliseconds, earlier.event_, event_), "reading the time");
  return 1e-3 * milliseconds;
}

void expect(bool kept, const char* promise) {
  ensure(kept, "{}", promise);
}

void launch_kernel(const void* kernel, const Launch& shape, void** arguments) {
  if (shape.shared_bytes > kSharedWithoutAsking) {
    // All that a block may have: no launch takes back what an earlier one, which a graph may hold, was given.
    int device = 0, most = 0;
    require(cudaGetDevice(&device), "asking for the device");
    require(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
            "asking how much shared memory there is");
    require(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most),
            "asking for shared memory");
  }
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = shape.stream;
  require(cudaLaunchKernelExC(&config, kernel, arguments), "starting a kernel");
}

}  // namespace vretnet::cuda
