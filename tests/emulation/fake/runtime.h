// What lies behind the fake CUDA runtime: devices, memory, streams as queues of closures, graphs. The
// libraries' fakes enqueue their work here. Work runs only when the host waits for it, the heads of ready
// streams in random order, so that a missing wait shows. Events tell the time of a GPU, which does not wait
// for the host: work begins when it was queued or when what is before it was done, and takes as long as it
// took here.
#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
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
  Ready ready;  // empty: always
  std::vector<int> after;
};

// A graph that was launched: its nodes run one by one, between what other streams do.
struct GraphRun {
  std::shared_ptr<const std::vector<Node>> nodes;
  std::vector<bool> ran;
  std::size_t first_left = 0, left = 0;
};

// Injected defects: what host code says wrongly of a product of cuBLASLt.
enum class ProductDefect : std::uint8_t {
  none,
  lost_bias,        // the epilogue without it
  gelu_epilogue,    // the library's GELU behind the product
  lost_sum,         // y = … in place of y += …
  wrong_stride,     // between columns, one too many
  wrong_batch_step  // between matrices of a batch, one too many
};

// Which of the streams that could go on does.
enum class StreamOrder : std::uint8_t { random, oldest_first, newest_first };

}  // namespace vretnet::emulation

struct CUgraph_st {
  std::vector<vretnet::emulation::Node> nodes;
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<vretnet::emulation::Node>> nodes;
};
struct CUevent_st {
  bool timing = false;
  std::uint64_t recorded = 0, completed = 0;  // how often
  double seconds = 0;
  cudaStream_t stream = nullptr;  // where it was recorded last
  CUgraph_st* graph = nullptr;    // captured: these nodes of this graph
  std::vector<int> nodes;
};
struct CUstream_st {
  struct Item {
    vretnet::emulation::Work work;
    vretnet::emulation::Ready ready;                           // empty: always
    std::shared_ptr<vretnet::emulation::GraphRun> graph = {};  // in place of work
    double queued = 0;                                         // when, in seconds
  };
  int device = 0;
  double clock = 0;  // when a GPU would have been done with what has run of it, in seconds
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
  std::size_t shared = 227 << 10;             // a block's, with the attribute
  std::string last_name = "emulated H100";    // of the last device
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

  cudaError_t status() const;  // cudaErrorLaunchFailure while there are violations
  cudaError_t fail(cudaError_t error);
  cudaError_t take_error();

  void* take_memory(std::size_t bytes, int device);
  bool give_memory(void* data);
  // The block that holds [data, data + bytes), or null.
  const Block* find(const void* data, std::size_t bytes) const;
  const std::map<std::uintptr_t, Block>& blocks() const { return blocks_; }
  // Notes a violation, and is true, unless [data, data + bytes) is memory of this device: "<what> of device 0
  // reaches into memory of device 1".
  bool strays(const char* what, int device, const void* data, std::size_t bytes) const;
  int running_device() const { return running_device_; }  // whose work runs now
  std::size_t used(int device) const;

  struct Kernel {
    std::vector<std::size_t> sizes;
    CallKernel call;
    std::size_t max_shared = 48 << 10;
  };
  std::map<const void*, Kernel> kernels;
  std::vector<cudaStream_t> streams;  // the oldest first
  StreamOrder stream_order = StreamOrder::random;
  // An injected defect: waits of a stream for an event of which this says true are left out.
  std::function<bool(cudaStream_t waiting, cudaEvent_t event)> lost_wait;
  ProductDefect product_defect = ProductDefect::none;
  std::int64_t launches = 0, graph_launches = 0, defective_products = 0;

 private:
  bool run_one();
  static void run_on_the_clock(cudaStream_t stream, const Work& work);
  std::vector<std::size_t> able_nodes(const GraphRun& run) const;
  bool able(cudaStream_t stream) const;
  void run_node(GraphRun& run, cudaStream_t stream);

  Random random_{1};
  int running_device_ = 0;
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
