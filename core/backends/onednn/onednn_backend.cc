#include "core/backends/onednn/onednn_backend.h"

#include <fmt/format.h>
#include <malloc.h>
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/backends/onednn/convolution.h"
#include "core/backends/onednn/gemm.h"
#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/memory.h"
#include "core/backends/onednn/mixers/mixers.h"
#include "core/backends/onednn/primitives.h"
#include "core/backends/onednn/quantized_gemm.h"
#include "core/base/ensure.h"
#include "core/ops/composed.h"
#include "core/ops/fields.h"

namespace vretnet {
namespace onednn {
namespace {

const char* instruction_set() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41:
      return "SSE4.1";
    case dnnl::cpu_isa::avx:
      return "AVX";
    case dnnl::cpu_isa::avx2:
    case dnnl::cpu_isa::avx2_vnni:
      return "AVX2";
    default:
      return "AVX-512";
  }
}

class OnednnBackend final : public Backend {
 public:
  explicit OnednnBackend(int threads) : threads_(threads) {
    ensure(threads >= 1, "{} threads", threads);
    use_threads();
  }

  std::string name() const override { return "onednn"; }
  std::string description() const override {
    const dnnl_version_t* version = dnnl_version();
    return fmt::format("oneDNN {}.{}.{}, {} thread{}, {}", version->major, version->minor, version->patch,
                       threads_, threads_ == 1 ? "" : "s", instruction_set());
  }

  void run(const ops::Op& op) override {
    use_threads();
    std::visit([&](const auto& each) { run_one(each); }, op);
  }

  std::size_t workspace_bytes(const ops::Op& op) const override {
    use_threads();
    return std::visit([&](const auto& each) { return workspace_of(each); }, op);
  }

  bool favours_integers() const override { return onednn::multiplies_bytes(); }
  void weights_changed() override { primitives_.packed_weights().clear(); }
  std::size_t kept_bytes() const override { return primitives_.packed_weights().bytes(); }

  void* allocate(std::size_t bytes) override { return allocate_memory(bytes); }
  void release(void* data) override {
    if (data) primitives_.packed_weights().forget(data, malloc_usable_size(data));
    std::free(data);
  }

  void upload(const View& target, const void* host) override {
    ensure(target.contiguous(), "upload to a view of {} with gaps", target.shape().text());
    if (target.elements() > 0) std::memcpy(bytes(target), host, size(target));
  }
  void download(const View& source, void* host) override {
    ensure(source.contiguous(), "download of a view of {} with gaps", source.shape().text());
    if (source.elements() > 0) std::memcpy(host, bytes(source), size(source));
  }
  void fill(const View& target, double value) override {
    ensure(target.contiguous(), "fill of a view of {} with gaps", target.shape().text());
    if (target.elements() == 0) return;
    switch (target.dtype()) {
      case DType::f32:
        std::fill_n(target.data<float>(), target.elements(), static_cast<float>(value));
        break;
      case DType::f64:
        std::fill_n(target.data<double>(), target.elements(), value);
        break;
      case DType::s8:
        std::fill_n(target.data<std::int8_t>(), target.elements(), static_cast<std::int8_t>(value));
        break;
      case DType::bf16:
        ensure(false, "the onednn backend has no bf16");
    }
  }

 private:
  // OpenMP keeps the number of threads per calling thread, and oneDNN compiles for it.
  void use_threads() const {
    if (omp_get_max_threads() != threads_) omp_set_num_threads(threads_);
  }
  template <class One>
  void run_one(const One& op) {
    if constexpr (!std::is_same_v<One, ops::Convert>) {
      const View& first = ops::fields(op).front().view;
      ensure(first.dtype() == DType::f32, "the onednn backend runs f32, not {}",
             vretnet::name_of(first.dtype()));
    }
    if constexpr (std::is_same_v<One, ops::RetentionBlockGradient>) {
      if (op.d_log_rate) return ops::run_composed(*this, op);
    }
    if constexpr (requires { onednn::run(op, primitives_); }) {
      onednn::run(op, primitives_);
    } else {
      onednn::run(op);
    }
  }
  template <class One>
  std::size_t workspace_of(const One& op) const {
    if constexpr (std::is_same_v<One, ops::RetentionBlockGradient>) {
      if (op.d_log_rate) return ops::composed_workspace_bytes(*this, op);
    }
    if constexpr (requires { onednn::workspace_bytes(op, primitives_); }) {
      return onednn::workspace_bytes(op, primitives_);
    } else if constexpr (requires { op.workspace; }) {
      return onednn::workspace_bytes(op);
    } else {
      return 0;
    }
  }
  static std::size_t size(const View& view) {
    return static_cast<std::size_t>(view.elements()) * bytes_of(view.dtype());
  }
  static void* bytes(const View& view) { return view.data<void>(); }

  int threads_;
  mutable Primitives primitives_;  // asking for a workspace compiles the primitive that will use it
};

}  // namespace
}  // namespace onednn

std::unique_ptr<Backend> make_onednn_backend(int threads) {
  return std::make_unique<onednn::OnednnBackend>(threads);
}

}  // namespace vretnet
