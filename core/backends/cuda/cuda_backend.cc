#include "core/backends/cuda/cuda_backend.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/backends/cuda/convolution.h"
#include "core/backends/cuda/device.h"
#include "core/backends/cuda/gemm.h"
#include "core/backends/cuda/kernels.h"
#include "core/backends/cuda/nccl/communicator.h"
#include "core/backends/cuda/staging.h"
#include "core/base/ensure.h"
#include "core/base/error.h"
#include "core/ops/composed.h"
#include "core/ops/fields.h"

namespace vretnet {
namespace cuda {
namespace {

// A CUDA graph of one stream's work: one launch in place of hundreds.
class Graph final : public Recording {
 public:
  Graph(const Stream& stream, cudaGraph_t graph) : stream_(stream) {
    const cudaError_t error = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    require(error, "making a graph");
  }
  ~Graph() override { cudaGraphExecDestroy(executable_); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  void replay() override { require(cudaGraphLaunch(executable_, stream_.get()), "starting a graph"); }

 private:
  const Stream& stream_;
  cudaGraphExec_t executable_ = nullptr;
};

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const Device& device) : device_(made_current(device)) {}
  ~CudaBackend() override { cudaSetDevice(device_.index); }

  const Stream& stream() const { return stream_; }
  void join(std::unique_ptr<Communicator> communicator, std::size_t devices) {
    communicator_ = std::move(communicator);
    devices_ = devices;
  }

  std::string name() const override { return "cuda"; }
  std::string description() const override { return device_.description(); }
  bool runs_in(DType dtype) const override { return dtype == DType::f32 || dtype == DType::bf16; }

  void run(const ops::Op& op) override {
    device_.make_current();
    std::visit([&](const auto& each) { run_one(each); }, op);
  }
  std::size_t workspace_bytes(const ops::Op& op) const override {
    device_.make_current();
    return std::visit([&](const auto& each) { return workspace_of(each); }, op);
  }
  void synchronize() override {
    device_.make_current();
    stream_.synchronize();
  }

  Communicator* communicator() override { return communicator_.get(); }

  bool has_clock() const override { return true; }
  void start_clock() override {
    device_.make_current();
    began_.record(stream_);
  }
  double read_clock() override {
    device_.make_current();
    ended_.record(stream_);
    ended_.synchronize();
    return ended_.seconds_since(began_);
  }
  Peaks peaks() const override { return {device_.flops, device_.bandwidth}; }

  bool records() const override { return true; }
  void begin_recording() override {
    device_.make_current();
    require(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal), "beginning a graph");
  }
  std::unique_ptr<Recording> end_recording() override {
    device_.make_current();
    cudaGraph_t graph = nullptr;
    require(cudaStreamEndCapture(stream_.get(), &graph), "ending a graph");
    return std::make_unique<Graph>(stream_, graph);
  }

  void* allocate(std::size_t bytes) override {
    device_.make_current();
    try {
      return take_memory(std::max<std::size_t>(bytes, 1));
    } catch (const OutOfMemory& error) {
      if (devices_ == 1) throw;
      // A Session counts the images of one device behind this, and `-b` counts those of all.
      throw OutOfMemory(fmt::format("{}; this is one of {} devices, and -b counts {} times its images",
                                    error.what(), devices_, devices_),
                        error.free);
    }
  }
  void release(void* data) override {
    if (cudaSetDevice(device_.index) == cudaSuccess) cudaFree(data);
  }

  void upload(const View& target, const void* host) override {
    ensure(target.contiguous(), "upload to a view of {} with gaps", target.shape().text());
    device_.make_current();
    if (target.elements() > 0) staging_.upload(address(target), host, size(target));
  }
  void download(const View& source, void* host) override {
    ensure(source.contiguous(), "download of a view of {} with gaps", source.shape().text());
    device_.make_current();
    if (source.elements() > 0) staging_.download(address(source), host, size(source));
  }
  void fill(const View& target, double value) override {
    ensure(target.contiguous(), "fill of a view of {} with gaps", target.shape().text());
    device_.make_current();
    if (target.elements() == 0) return;
    if (target.dtype() == DType::s8) {
      require(cudaMemsetAsync(address(target), static_cast<int>(value), size(target), stream_.get()),
              "a fill");
    } else {
      run_fill(target, static_cast<float>(value), stream_.get());
    }
  }

 private:
  template <class One>
  void run_one(const One& op) {
    if constexpr (std::is_same_v<One, ops::RetentionBlockGradient>) {
      ops::run_composed(*this, op);
    } else if constexpr (std::is_same_v<One, ops::Gemm>) {
      gemms_.run(op, stream_);
    } else if constexpr (requires { convolutions_.run(op, stream_); }) {
      convolutions_.run(op, stream_);
    } else {
      cuda::run(op, stream_.get());
    }
  }
  template <class One>
  std::size_t workspace_of(const One& op) const {
    if constexpr (std::is_same_v<One, ops::RetentionBlockGradient>) {
      return ops::composed_workspace_bytes(*this, op);
    } else if constexpr (std::is_same_v<One, ops::Gemm>) {
      return gemms_.workspace_bytes(op);
    } else if constexpr (requires { convolutions_.workspace_bytes(op); }) {
      return convolutions_.workspace_bytes(op);
    } else if constexpr (requires { op.workspace; }) {
      return cuda::workspace_bytes(op);
    } else {
      return 0;
    }
  }

  static void* address(const View& view) {
    ensure(view.dtype() != DType::f64, "the cuda backend holds f32, bf16 and s8, not {}",
           vretnet::name_of(view.dtype()));
    return view.data<void>();
  }
  static std::size_t size(const View& view) {
    return static_cast<std::size_t>(view.elements()) * bytes_of(view.dtype());
  }

  static const Device& made_current(const Device& device) {
    device.make_current();
    return device;
  }

  Device device_;
  Stream stream_;
  GemmEngine gemms_;
  ConvolutionEngine convolutions_{stream_};
  Staging staging_{stream_};
  Event began_{cudaEventDefault}, ended_{cudaEventDefault};
  std::unique_ptr<Communicator> communicator_;
  std::size_t devices_ = 1;  // of the group
};

}  // namespace
}  // namespace cuda

std::unique_ptr<Backend> make_cuda_backend(int device) {
  return std::make_unique<cuda::CudaBackend>(cuda::Device::open(device));
}

std::vector<std::unique_ptr<Backend>> make_cuda_backends(const std::vector<int>& indices) {
  const std::string flag = fmt::format("--device cuda:{}", fmt::join(indices, ","));
  std::vector<cuda::Device> devices;
  for (const int index : indices) {
    if (std::count(indices.begin(), indices.end(), index) > 1) {
      throw UsageError(fmt::format("{}: device {} is named twice", flag, index));
    }
    devices.push_back(cuda::Device::open(index));
    if (devices.back().name != devices.front().name) {
      throw UsageError(fmt::format("{}: the devices must be of one kind: {} is {}, {} is {}", flag,
                                   indices[0], devices.front().name, index, devices.back().name));
    }
  }
  std::vector<std::unique_ptr<Backend>> backends;
  std::vector<cuda::CudaBackend*> members;
  std::vector<const cuda::Stream*> streams;
  for (const cuda::Device& device : devices) {
    auto backend = std::make_unique<cuda::CudaBackend>(device);
    members.push_back(backend.get());
    streams.push_back(&backend->stream());
    backends.push_back(std::move(backend));
  }
  if (devices.size() == 1) return backends;
  auto communicators = cuda::make_communicators(devices, streams);
  for (std::size_t i = 0; i < members.size(); ++i)
    members[i]->join(std::move(communicators[i]), members.size());
  return backends;
}

}  // namespace vretnet
