#include "core/backends/cuda/cuda_backend.h"

#include <fmt/format.h>

#include "core/backends/cuda/convolution.h"
#include "core/backends/cuda/device.h"
#include "core/backends/cuda/gemm.h"
#include "core/backends/cuda/kernels.h"
#include "core/backends/cuda/staging.h"
#include "core/base/check.h"
#include "core/base/error.h"
#include "core/ops/composed.h"
#include "core/ops/fields.h"

namespace vretnet {
namespace cuda {
namespace {

double mebibytes(std::size_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

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
  explicit CudaBackend(int index) : device_(Device::open(index)), convolutions_(stream_), staging_(stream_) {}
  ~CudaBackend() override { cudaSetDevice(device_.index); }

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

  bool records() const override { return true; }
  void begin_recording() override {
    device_.make_current();
    require(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal), "beginning a graph");
  }
  std::unique_ptr<Recording> end_recording() override {
    cudaGraph_t graph = nullptr;
    require(cudaStreamEndCapture(stream_.get(), &graph), "ending a graph");
    return std::make_unique<Graph>(stream_, graph);
  }

  void* allocate(std::size_t bytes) override {
    device_.make_current();
    void* data = nullptr;
    const cudaError_t error = cudaMalloc(&data, bytes == 0 ? 1 : bytes);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // it is said below, and not to be met again
      std::size_t free = 0, total = 0;
      require(cudaMemGetInfo(&free, &total), "asking for free memory");
      throw RunError(
          fmt::format("{} has too little memory: {:.1f} MiB were asked for, {:.1f} of {:.1f} MiB are free; a "
                      "batch of at most "
                      "{:.0f} % of this one's images would fit",
                      device_.name, mebibytes(bytes), mebibytes(free), mebibytes(total),
                      100 * static_cast<double>(free) / static_cast<double>(bytes)));
    }
    require(error, "taking memory");
    return data;
  }
  void release(void* data) override {
    if (cudaSetDevice(device_.index) == cudaSuccess) cudaFree(data);
  }

  void upload(const View& target, const void* host) override {
    check(target.contiguous(), "upload to a view of {} with gaps", target.shape().text());
    device_.make_current();
    if (target.elements() > 0) staging_.upload(address(target), host, size(target));
  }
  void download(const View& source, void* host) override {
    check(source.contiguous(), "download of a view of {} with gaps", source.shape().text());
    device_.make_current();
    if (source.elements() > 0) staging_.download(address(source), host, size(source));
  }
  void fill(const View& target, double value) override {
    check(target.contiguous(), "fill of a view of {} with gaps", target.shape().text());
    device_.make_current();
    run_fill(target, static_cast<float>(value), stream_.get());
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
    check(wide_of(view.dtype()) == DType::f32, "the cuda backend holds f32 and bf16, not {}",
          vretnet::name_of(view.dtype()));
    return view.data<void>();
  }
  static std::size_t size(const View& view) {
    return static_cast<std::size_t>(view.elements()) * bytes_of(view.dtype());
  }

  Device device_;
  Stream stream_;
  GemmEngine gemms_;
  ConvolutionEngine convolutions_;
  Staging staging_;
};

}  // namespace
}  // namespace cuda

std::unique_ptr<Backend> make_cuda_backend(int device) {
  return std::make_unique<cuda::CudaBackend>(device);
}

}  // namespace vretnet
