// What lies behind the fake CUDA runtime: devices, memory, streams as queues of closures, graphs. The
// libraries' fakes enqueue their work here. Work runs only when the host waits for it, the heads of ready
// streams in random order, so that a missing wait shows.
#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "tests/emulation/fake/kernels.h"

namespace vretnet::emulation {

using Work = std::function<void()>;
using Ready = std::function<bool()>;

struct Node {  // of a graph
  Work work;
  std::vector<int> after;
};

}  // namespace vretnet::emulation

struct CUgraph_st {
  std::vector<vretnet::emulation::Node> nodes;
};
struct CUgraphExec_st {
  std::vector<vretnet::emulation::Node> nodes;
  int device = 0;
};
struct CUevent_st {
  std::uint64_t recorded = 0, completed = 0;  // how often
  double seconds = 0;
  CUgraph_st* graph = nullptr;  // captured: a node of this graph
  int node = -1;
};
struct CUstream_st {
  struct Item {
    vretnet::emulation::Work work;
    vretnet::emulation::Ready ready;  // empty: always
  };
  int device = 0;
  std::deque<Item> queue;
  CUgraph_st* capture = nullptr;
  std::vector<int> after;  // captured nodes that the next one follows
  bool origin = false;
};

namespace vretnet::emulation {

// What the machine has. Tests change it to see what the backend says.
struct MachineModel {
  bool driver = true;
  int driver_version = 13000;
  int devices = 2;
  int major = 9, minor = 0;
  std::size_t memory = std::size_t{4} << 30;  // a device's
};

struct Block {  // of memory
  std::size_t bytes = 0;
  int device = -1;  // −1: pinned host memory
};

class Runtime {
 public:
  static Runtime& get();

  std::recursive_mutex mutex;
  std::condition_variable_any changed;  // something was enqueued or ran
  MachineModel model;

  // On a capturing stream the work becomes a node of the graph. cudaErrorInvalidResourceHandle for a stream
  // of another device or none.
  cudaError_t enqueue(cudaStream_t stream, Work work, Ready ready = {});
  // Runs ready work until `done`; waits for other host threads where nothing is ready. False when nothing can
  // come.
  bool run_until(const std::function<bool()>& done);
  bool idle(int device) const;
  void run_graph(const std::vector<Node>& nodes);

  cudaError_t status() const;  // cudaErrorLaunchFailure while there are violations
  cudaError_t fail(cudaError_t error);
  cudaError_t take_error();

  void* take_memory(std::size_t bytes, int device);
  bool give_memory(void* data);
  // The block that holds [data, data + bytes), or null.
  const Block* find(const void* data, std::size_t bytes) const;
  const std::map<std::uintptr_t, Block>& blocks() const { return blocks_; }
  std::size_t used(int device) const;

  struct Kernel {
    std::vector<std::size_t> sizes;
    CallKernel call;
    std::size_t max_shared = 48 << 10;
  };
  std::map<const void*, Kernel> kernels;
  std::vector<cudaStream_t> streams;
  std::int64_t launches = 0, graph_launches = 0;

 private:
  bool run_one();

  Random random_{1};
  std::map<std::uintptr_t, Block> blocks_;
  mutable cudaError_t last_error_ = cudaSuccess;
};

int current_device();

// Whether memory is being watched (the hook checker): told what host code and libraries write on the device.
class MemoryObserver {
 public:
  virtual ~MemoryObserver() = default;
  virtual void allocated(const void* data, std::size_t bytes) = 0;
  virtual void released(const void* data) = 0;
  virtual void written(const void* data, std::size_t bytes) = 0;
};
void set_memory_observer(MemoryObserver* observer);
MemoryObserver* memory_observer();
void tell_written(const void* data, std::size_t bytes);

}  // namespace vretnet::emulation
