// The CUDA runtime's functions that the backend calls, behind NVIDIA's own header. H100's limits hold.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "tests/emulation/emulator.h"
#include "tests/emulation/fake/runtime.h"

using vretnet::emulation::Block;
using vretnet::emulation::Grid;
using vretnet::emulation::note_violation;
using vretnet::emulation::Runtime;
using vretnet::emulation::tell_written;

namespace {

constexpr unsigned kMaxThreads = 1024, kMaxGridYZ = 65535;
thread_local int the_device = 0;

Runtime& runtime() {
  return Runtime::get();
}
std::unique_lock<std::recursive_mutex> lock() {
  return std::unique_lock(runtime().mutex);
}
cudaError_t driver_status() {
  if (!runtime().model.driver) return cudaErrorInsufficientDriver;
  return runtime().model.devices == 0 ? cudaErrorNoDevice : cudaSuccess;
}
bool capturing() {
  const auto& streams = runtime().streams;
  return std::any_of(streams.begin(), streams.end(), [](cudaStream_t stream) {
    return stream->capture != nullptr && stream->device == the_device;
  });
}
// What may not happen while a graph is captured.
cudaError_t refuse_in_capture(const char* call) {
  note_violation(fmt::format("{} while a graph is captured", call));
  return runtime().fail(cudaErrorStreamCaptureUnsupported);
}

cudaError_t refuse(const char* why) {
  note_violation(fmt::format("launch refused: {}", why));
  return runtime().fail(cudaErrorInvalidConfiguration);
}

}  // namespace

int vretnet::emulation::current_device() {
  return the_device;
}

extern "C" {

// ------------------------------------------------------------------------------------------------ devices

cudaError_t cudaGetDeviceCount(int* count) {
  *count = runtime().model.driver ? runtime().model.devices : 0;
  return driver_status();
}
cudaError_t cudaSetDevice(int device) {
  if (const cudaError_t error = driver_status(); error != cudaSuccess) return error;
  if (device < 0 || device >= runtime().model.devices) return runtime().fail(cudaErrorInvalidDevice);
  the_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = the_device;
  return driver_status();
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= runtime().model.devices) return runtime().fail(cudaErrorInvalidDevice);
  *properties = {};
  const bool last = device > 0 && device + 1 == runtime().model.devices;
  std::snprintf(properties->name, sizeof properties->name, "%s",
                last ? runtime().model.last_name.c_str() : "emulated H100");
  properties->major = runtime().model.major;
  properties->minor = runtime().model.minor;
  properties->totalGlobalMem = runtime().model.memory;
  properties->multiProcessorCount = 132;
  properties->sharedMemPerBlockOptin = runtime().model.shared;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(runtime().model.shared);
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = 132;
      return cudaSuccess;
    case cudaDevAttrClockRate:  // kHz
      *value = 1980000;
      return cudaSuccess;
    case cudaDevAttrMemoryClockRate:
      *value = 2619000;
      return cudaSuccess;
    case cudaDevAttrGlobalMemoryBusWidth:  // bits
      *value = 5120;
      return cudaSuccess;
    default:
      return runtime().fail(cudaErrorInvalidValue);
  }
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = runtime().model.driver ? runtime().model.driver_version : 0;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const auto guard = lock();
  *total = runtime().model.memory;
  *free = *total - runtime().used(the_device);
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  const auto guard = lock();
  return runtime().take_error();
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    default:
      return "an error of the fake runtime";
  }
}

// ------------------------------------------------------------------------------------------------- memory

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  const auto guard = lock();
  if (capturing()) return refuse_in_capture("cudaMalloc");
  *data = runtime().take_memory(bytes, the_device);
  return *data ? cudaSuccess : runtime().fail(cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* data) {
  const auto guard = lock();
  if (data == nullptr) return cudaSuccess;
  if (capturing()) return refuse_in_capture("cudaFree");
  const Block* block = runtime().find(data, 0);
  if (block == nullptr) return runtime().fail(cudaErrorInvalidValue);
  const int device = block->device;
  runtime().run_until([device] { return runtime().idle(device); });
  return runtime().give_memory(data) ? cudaSuccess : runtime().fail(cudaErrorInvalidValue);
}
cudaError_t cudaMallocHost(void** data, std::size_t bytes) {
  const auto guard = lock();
  *data = runtime().take_memory(bytes, -1);
  return *data ? cudaSuccess : runtime().fail(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* data) {
  const auto guard = lock();
  return runtime().give_memory(data) ? cudaSuccess : runtime().fail(cudaErrorInvalidValue);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const auto guard = lock();
  const auto on_device = [&](const void* data) {
    const Block* block = runtime().find(data, bytes);
    return block != nullptr && block->device >= 0;
  };
  const auto strays = [&](const void* data) {
    return runtime().strays("a copy", stream ? stream->device : the_device, data, bytes);
  };
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (on_device(to) != to_device || on_device(from) != from_device) {
    note_violation(fmt::format("a copy of {} bytes outside the memory that it names", bytes));
    return runtime().fail(cudaErrorInvalidValue);
  }
  if ((to_device && strays(to)) || (from_device && strays(from)))
    return runtime().fail(cudaErrorInvalidValue);
  const auto pinned = [&](const void* data) { return runtime().find(data, bytes) != nullptr; };
  if ((!to_device && !pinned(to)) || (!from_device && !pinned(from))) {
    note_violation("an asynchronous copy with host memory that is not pinned");
  }
  return runtime().enqueue(stream, [=] {
    std::memcpy(to, from, bytes);
    if (to_device) tell_written(to, bytes);
  });
}
cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t stream) {
  const auto guard = lock();
  if (runtime().strays("cudaMemset", stream ? stream->device : the_device, data, bytes)) {
    return runtime().fail(cudaErrorInvalidValue);
  }
  return runtime().enqueue(stream, [=] {
    std::memset(data, value, bytes);
    tell_written(data, bytes);
  });
}

// --------------------------------------------------------------------------------------- streams and events

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const auto guard = lock();
  if (flags != cudaStreamNonBlocking) note_violation("a stream that waits for the null stream");
  *stream = new CUstream_st{.device = the_device};
  runtime().streams.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const auto guard = lock();
  if (stream->capture != nullptr) return refuse_in_capture("cudaStreamSynchronize");
  runtime().run_until([stream] { return stream->queue.empty(); });
  return runtime().status();
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const auto guard = lock();
  runtime().run_until([stream] { return stream->queue.empty(); });
  std::erase(runtime().streams, stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st();
  (*event)->timing = (flags & cudaEventDisableTiming) == 0;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const auto guard = lock();
  runtime().run_until([event] { return event->completed == event->recorded; });
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const auto guard = lock();
  event->stream = stream;
  if (stream->capture != nullptr) {
    event->graph = stream->capture;
    event->nodes = stream->after;
    return cudaSuccess;
  }
  event->graph = nullptr;
  const std::uint64_t serial = ++event->recorded;
  return runtime().enqueue(stream, [event, stream, serial] {
    event->completed = std::max(event->completed, serial);
    event->seconds = stream->clock;
  });
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const auto guard = lock();
  if (runtime().lost_wait && runtime().lost_wait(stream, event)) return cudaSuccess;
  if (event->graph != nullptr) {  // a fork or a join of the capture
    stream->capture = event->graph;
    stream->after.insert(stream->after.end(), event->nodes.begin(), event->nodes.end());
    return cudaSuccess;
  }
  if (stream->capture != nullptr) return refuse_in_capture("a wait for an event from outside");
  const std::uint64_t serial = event->recorded;
  return runtime().enqueue(
      stream, [event, stream] { stream->clock = std::max(stream->clock, event->seconds); },
      [event, serial] { return event->completed >= serial; });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const auto guard = lock();
  if (event->graph != nullptr) return refuse_in_capture("cudaEventSynchronize");
  runtime().run_until([event] { return event->completed == event->recorded; });
  return runtime().status();
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const auto guard = lock();
  if (!start->timing || !end->timing || start->recorded == 0 || end->recorded == 0) {
    return runtime().fail(cudaErrorInvalidResourceHandle);
  }
  if (start->completed < start->recorded || end->completed < end->recorded) {
    return runtime().fail(cudaErrorNotReady);
  }
  *milliseconds = static_cast<float>(1e3 * (end->seconds - start->seconds));
  return cudaSuccess;
}

// ------------------------------------------------------------------------------------------------- launches

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  const auto guard = lock();
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      static_cast<std::size_t>(value) > runtime().model.shared) {
    return runtime().fail(cudaErrorInvalidValue);
  }
  runtime().kernels[kernel].max_shared = static_cast<std::size_t>(value);
  return cudaSuccess;
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* kernel, void** arguments) {
  const auto guard = lock();
  const auto found = runtime().kernels.find(kernel);
  if (found == runtime().kernels.end() || !found->second.call)
    return runtime().fail(cudaErrorInvalidDeviceFunction);
  const Runtime::Kernel& known = found->second;
  const dim3 grid = config->gridDim, block = config->blockDim;
  if (block.x * block.y * block.z > kMaxThreads || block.x == 0)
    return refuse("more than 1024 threads a block");
  if (grid.x == 0 || grid.x > 0x7fffffffu) return refuse("grid.x");
  if (grid.y > kMaxGridYZ || grid.z > kMaxGridYZ) return refuse("grid.y or grid.z beyond 65535");
  if (config->dynamicSmemBytes > known.max_shared)
    return refuse("more shared memory than the attribute allows");
  // Arguments are copied now: what the caller does with them afterwards means nothing.
  auto copies = std::make_shared<std::vector<std::vector<char>>>();
  for (std::size_t i = 0; i < known.sizes.size(); ++i) {
    const char* bytes = static_cast<const char*>(arguments[i]);
    copies->emplace_back(bytes, bytes + known.sizes[i]);
  }
  const Grid shape{grid, block, config->dynamicSmemBytes};
  return runtime().enqueue(config->stream, [shape, copies, &known] {
    // Of a launch in a graph, which may run long after it was captured.
    if (shape.shared_bytes > known.max_shared)
      note_violation("a kernel was asked to take less shared memory than it was launched with");
    std::vector<void*> pointers;
    for (std::vector<char>& copy : *copies) pointers.push_back(copy.data());
    ++runtime().launches;
    vretnet::emulation::run_grid(shape, [&] { known.call(pointers.data()); });
  });
}

// --------------------------------------------------------------------------------------------------- graphs

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const auto guard = lock();
  if (stream->capture != nullptr) return runtime().fail(cudaErrorIllegalState);
  stream->capture = new CUgraph_st();
  stream->origin = true;
  stream->after.clear();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const auto guard = lock();
  if (stream->capture == nullptr || !stream->origin) return runtime().fail(cudaErrorIllegalState);
  *graph = stream->capture;
  // Every captured node must lead back to this stream.
  std::vector<bool> joined((*graph)->nodes.size());
  std::vector<int> open = stream->after;
  while (!open.empty()) {
    const auto node = static_cast<std::size_t>(open.back());
    open.pop_back();
    if (joined[node]) continue;
    joined[node] = true;
    open.insert(open.end(), (*graph)->nodes[node].after.begin(), (*graph)->nodes[node].after.end());
  }
  for (cudaStream_t other : runtime().streams) {
    if (other->capture == *graph) other->capture = nullptr, other->after.clear(), other->origin = false;
  }
  if (std::find(joined.begin(), joined.end(), false) != joined.end()) {
    note_violation("captured work that the capturing stream does not wait for");
    return runtime().fail(cudaErrorStreamCaptureUnjoined);
  }
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable =
      new CUgraphExec_st{std::make_shared<const std::vector<vretnet::emulation::Node>>(graph->nodes)};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const auto guard = lock();
  ++runtime().graph_launches;
  const std::size_t count = executable->nodes->size();
  const cudaError_t queued = runtime().enqueue(stream, {});
  if (queued != cudaSuccess) return queued;
  stream->queue.back().graph = std::make_shared<vretnet::emulation::GraphRun>(
      vretnet::emulation::GraphRun{executable->nodes, std::vector<bool>(count), 0, count});
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

}  // extern "C"
