#include "core/backends/cuda/device.h"

#include <fmt/format.h>

#include "core/backends/cuda/launch.h"
#include "core/base/ensure.h"
#include "core/base/error.h"
#include "core/ops/backend.h"

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

double mebibytes(std::size_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}
double kibibytes(std::size_t bytes) {
  return static_cast<double>(bytes) / (1 << 10);
}

int current_index() {
  int index = 0;
  require(cudaGetDevice(&index), "asking for the device");
  return index;
}
std::string current_name() {
  cudaDeviceProp properties;
  require(cudaGetDeviceProperties(&properties, current_index()), "asking for a device's properties");
  return properties.name;
}

// Bytes that a block may have.
std::size_t most_shared() {
  int most = 0;
  require(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, current_index()),
          "asking how much shared memory there is");
  return static_cast<std::size_t>(most);
}

}  // namespace

void require(cudaError_t error, const char* doing) {
  if (error == cudaSuccess) return;
  std::string text = fmt::format("CUDA: {}: {}", doing, cudaGetErrorString(error));
  std::size_t free = 0, total = 0;
  if (error == cudaErrorMemoryAllocation && cudaMemGetInfo(&free, &total) == cudaSuccess) {
    text += fmt::format(" ({:.1f} of {:.1f} MiB of the device are free)", mebibytes(free), mebibytes(total));
  }
  throw RunError(text);
}

void* take_memory(std::size_t bytes, const char* purpose) {
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // it is said below, and not to be met again
    std::size_t free = 0, total = 0;
    require(cudaMemGetInfo(&free, &total), "asking for free memory");
    throw OutOfMemory(
        fmt::format("{} has too little memory: {:.1f} MiB were asked for{}{}, {:.1f} of {:.1f} MiB are free",
                    current_name(), mebibytes(bytes), *purpose ? " by " : "", purpose, mebibytes(free),
                    mebibytes(total)),
        free);
  }
  require(error, "taking memory");
  return data;
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

void require_room_for_heads(const char* op, std::int64_t width, std::size_t bytes) {
  if (bytes <= kSharedWithoutAsking) return;
  const std::size_t most = most_shared();
  if (bytes <= most) return;
  throw UsageError(fmt::format(
      "--device cuda: {} with heads of {} values needs {:.1f} KiB of shared memory a block, of which {} "
      "gives {:.1f}; a model of the same width with more heads (--heads) has narrower ones",
      op, width, kibibytes(bytes), current_name(), kibibytes(most)));
}

void launch_kernel(const void* kernel, const Launch& shape, void** arguments) {
  if (shape.shared_bytes > kSharedWithoutAsking) {
    // All that a block may have: no launch takes back what an earlier one, which a graph may hold, was given.
    require(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(most_shared())),
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
