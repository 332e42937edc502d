#include "tests/emulation/fake/runtime.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "tests/emulation/emulator.h"
#include "tests/emulation/hidden_memory.h"

namespace vretnet::emulation {
namespace {

constexpr std::size_t kAlignment = 256;                     // as cudaMalloc's
constexpr std::size_t kGuard = 256;                         // bytes before and behind a block
constexpr unsigned char kGuardByte = 0xa5, kPoison = 0xff;  // 0xffffffff is a NaN
constexpr auto kPatience = std::chrono::seconds(20);        // for what another host thread must enqueue

MemoryObserver* the_memory_observer = nullptr;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Runtime& Runtime::get() {
  static Runtime runtime;
  return runtime;
}

cudaError_t Runtime::fail(cudaError_t error) {
  last_error_ = error;
  return error;
}
cudaError_t Runtime::take_error() {
  const cudaError_t error = last_error_;
  last_error_ = cudaSuccess;
  return error == cudaSuccess ? status() : error;
}
cudaError_t Runtime::status() const {
  return violations().empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

cudaError_t Runtime::enqueue(cudaStream_t stream, Work work, Ready ready) {
  if (stream == nullptr || std::find(streams.begin(), streams.end(), stream) == streams.end()) {
    note_violation("work on the null stream or on one that does not exist");
    return fail(cudaErrorInvalidResourceHandle);
  }
  if (stream->device != current_device()) {
    note_violation(fmt::format("work on a stream of device {} while device {} is current", stream->device,
                               current_device()));
    return fail(cudaErrorInvalidResourceHandle);
  }
  if (stream->capture != nullptr) {
    stream->capture->nodes.push_back({std::move(work), std::move(ready), stream->after});
    stream->after = {static_cast<int>(stream->capture->nodes.size()) - 1};
    return cudaSuccess;
  }
  stream->queue.push_back({.work = std::move(work), .ready = std::move(ready), .queued = now()});
  changed.notify_all();
  return cudaSuccess;
}

// Nodes that could run now, the first few of them.
std::vector<std::size_t> Runtime::able_nodes(const GraphRun& run) const {
  constexpr std::size_t kEnough = 8;
  std::vector<std::size_t> able;
  for (std::size_t i = run.first_left; i < run.ran.size() && able.size() < kEnough; ++i) {
    const Node& node = (*run.nodes)[i];
    const auto has_run = [&](int other) { return run.ran[static_cast<std::size_t>(other)]; };
    if (!run.ran[i] && std::all_of(node.after.begin(), node.after.end(), has_run) &&
        (!node.ready || node.ready())) {
      able.push_back(i);
    }
  }
  return able;
}

bool Runtime::able(cudaStream_t stream) const {
  if (stream->queue.empty()) return false;
  const CUstream_st::Item& item = stream->queue.front();
  if (item.graph) return item.graph->left == 0 || !able_nodes(*item.graph).empty();
  return !item.ready || item.ready();
}

void Runtime::run_on_the_clock(cudaStream_t stream, const Work& work) {
  if (!work) return;
  const double began = now();
  work();
  stream->clock += now() - began;
}

void Runtime::run_node(GraphRun& run, cudaStream_t stream) {
  const std::vector<std::size_t> able = able_nodes(run);
  std::size_t next = able[random_.below(able.size())];
  if (stream_order == StreamOrder::oldest_first) next = able.front();
  if (stream_order == StreamOrder::newest_first) next = able.back();
  run_on_the_clock(stream, (*run.nodes)[next].work);
  run.ran[next] = true;
  --run.left;
  while (run.first_left < run.ran.size() && run.ran[run.first_left]) ++run.first_left;
}

bool Runtime::run_one() {
  std::vector<cudaStream_t> ready;
  for (cudaStream_t stream : streams) {
    if (able(stream)) ready.push_back(stream);
  }
  if (ready.empty()) return false;
  cudaStream_t stream = ready[random_.below(ready.size())];
  if (stream_order == StreamOrder::oldest_first) stream = ready.front();
  if (stream_order == StreamOrder::newest_first) stream = ready.back();
  running_device_ = stream->device;
  stream->clock = std::max(stream->clock, stream->queue.front().queued);
  if (const auto graph = stream->queue.front().graph) {
    if (graph->left > 0) run_node(*graph, stream);
    if (graph->left == 0) stream->queue.pop_front();
  } else {
    const Work work = std::move(stream->queue.front().work);
    stream->queue.pop_front();
    run_on_the_clock(stream, work);
  }
  changed.notify_all();
  return true;
}

bool Runtime::run_until(const std::function<bool()>& done) {
  while (!done()) {
    if (run_one()) continue;
    if (changed.wait_for(mutex, kPatience) == std::cv_status::timeout && !done() && !run_one()) {
      note_violation("a stream waits for what nobody will do");
      return false;
    }
  }
  return true;
}

bool Runtime::idle(int device) const {
  return std::all_of(streams.begin(), streams.end(),
                     [&](cudaStream_t stream) { return stream->device != device || stream->queue.empty(); });
}

std::size_t Runtime::used(int device) const {
  std::size_t sum = 0;
  for (const auto& [address, block] : blocks_) sum += block.device == device ? block.bytes : 0;
  return sum;
}

void* Runtime::take_memory(std::size_t bytes, int device) {
  if (device >= 0 && (bytes > model.memory || used(device) + bytes > model.memory)) return nullptr;
  const std::size_t whole = (bytes + 2 * kGuard + kAlignment - 1) / kAlignment * kAlignment;
  auto* memory = static_cast<unsigned char*>(std::aligned_alloc(kAlignment, whole));
  if (memory == nullptr) return nullptr;
  std::memset(memory, kGuardByte, whole);
  std::memset(memory + kGuard, kPoison, bytes);
  hide_memory(memory, whole);
  show_memory(memory + kGuard, bytes);
  blocks_[reinterpret_cast<std::uintptr_t>(memory + kGuard)] = {bytes, device};
  if (the_memory_observer && device >= 0) the_memory_observer->allocated(memory + kGuard, bytes);
  return memory + kGuard;
}

bool Runtime::give_memory(void* data) {
  const auto found = blocks_.find(reinterpret_cast<std::uintptr_t>(data));
  if (found == blocks_.end()) return false;
  auto* bytes = static_cast<unsigned char*>(data);
  show_memory(bytes - kGuard, found->second.bytes + 2 * kGuard);
  for (std::size_t i = 0; i < kGuard; ++i) {
    if (bytes[-1 - static_cast<std::ptrdiff_t>(i)] != kGuardByte ||
        bytes[found->second.bytes + i] != kGuardByte) {
      note_violation(fmt::format("memory was written outside a block of {} bytes", found->second.bytes));
      break;
    }
  }
  if (the_memory_observer && found->second.device >= 0) the_memory_observer->released(data);
  blocks_.erase(found);
  std::free(bytes - kGuard);
  return true;
}

const Block* Runtime::find(const void* data, std::size_t bytes) const {
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  auto next = blocks_.upper_bound(address);
  if (next == blocks_.begin()) return nullptr;
  --next;
  return address + bytes <= next->first + next->second.bytes ? &next->second : nullptr;
}

bool Runtime::strays(const char* what, int device, const void* data, std::size_t bytes) const {
  const Block* block = find(data, bytes);
  if (block != nullptr && block->device == device) return false;
  const std::string where = block == nullptr    ? "what is no device memory"
                            : block->device < 0 ? "pinned memory of the host"
                                                : fmt::format("memory of device {}", block->device);
  note_violation(fmt::format("{} of device {} reaches into {}", what, device, where));
  return true;
}

void introduce_kernel(const void* kernel, const std::vector<std::size_t>& sizes, const CallKernel& call) {
  Runtime& runtime = Runtime::get();
  const std::lock_guard lock(runtime.mutex);
  Runtime::Kernel& known = runtime.kernels[kernel];
  known.sizes = sizes;
  known.call = call;
}

void set_memory_observer(MemoryObserver* observer) {
  the_memory_observer = observer;
}
MemoryObserver* memory_observer() {
  return the_memory_observer;
}
void tell_written(const void* data, std::size_t bytes) {
  if (the_memory_observer) the_memory_observer->written(data, bytes);
}

}  // namespace vretnet::emulation
