#include "core/backends/reference/reference_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/backends/reference/attention.h"
#include "core/backends/reference/convolution.h"
#include "core/backends/reference/cross_entropy.h"
#include "core/backends/reference/depthwise.h"
#include "core/backends/reference/elementwise.h"
#include "core/backends/reference/gemm.h"
#include "core/backends/reference/head_norm.h"
#include "core/backends/reference/layer_norm.h"
#include "core/backends/reference/optimizer.h"
#include "core/backends/reference/pooling.h"
#include "core/backends/reference/rotate.h"
#include "core/backends/reference/tracked.h"
#include "core/base/check.h"
#include "core/base/error.h"
#include "core/ops/fields.h"

namespace vretnet::reference {
namespace {

constexpr std::size_t kAlignment = 64;

template <class AnOp>
void run_in_dtype(const AnOp& op, DType dtype) {
  if constexpr (requires { run<float>(op); }) {
    dtype == DType::f32 ? run<float>(op) : run<double>(op);
  } else {
    check(false, "retention: until its templates land");
  }
}

void run_in_dtype(const ops::Convert& op, DType from) {
  if (op.y.dtype() == DType::f32) {
    from == DType::f32 ? convert<float, float>(op) : convert<double, float>(op);
  } else {
    from == DType::f32 ? convert<float, double>(op) : convert<double, double>(op);
  }
}

template <class T>
void fill_elements(const View& target, double value) {
  std::fill_n(target.data<T>(), target.elements(), static_cast<T>(value));
}

class ReferenceBackend final : public Backend {
 public:
  std::string name() const override { return "reference"; }
  std::string description() const override { return "plain loops, one thread, f32 and f64"; }

  void run(const ops::Op& op) override {
    std::visit([&](const auto& each) { run_in_dtype(each, ops::dtype_of(op)); }, op);
  }

  std::size_t workspace_bytes(const ops::Op&) const override { return 0; }

  void* allocate(std::size_t bytes) override {
    const std::size_t rounded = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    void* data = rounded < bytes ? nullptr : std::aligned_alloc(kAlignment, rounded);
    if (data == nullptr) throw RunError(fmt::format("no memory for {} bytes", bytes));
    return data;
  }
  void release(void* data) override { std::free(data); }

  void upload(const View& target, const void* host) override {
    check(target.contiguous(), "an upload to {} with gaps", target.shape().text());
    if (target.elements() > 0) std::memcpy(target.data<void>(), host, bytes_in(target));
  }
  void download(const View& source, void* host) override {
    check(source.contiguous(), "a download of {} with gaps", source.shape().text());
    if (source.elements() > 0) std::memcpy(host, source.data<void>(), bytes_in(source));
  }
  void fill(const View& target, double value) override {
    check(target.contiguous(), "a fill of {} with gaps", target.shape().text());
    if (target.elements() == 0) return;
    target.dtype() == DType::f32 ? fill_elements<float>(target, value) : fill_elements<double>(target, value);
  }

 private:
  static std::size_t bytes_in(const View& view) {
    return static_cast<std::size_t>(view.elements()) * bytes_of(view.dtype());
  }
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() {
  return std::make_unique<ReferenceBackend>();
}

void run_tracked(const ops::Op& op) {
  std::visit(
      [](const auto& each) {
        if constexpr (requires { run<Tracked>(each); }) {
          run<Tracked>(each);
        } else if constexpr (requires { convert<Tracked, Tracked>(each); }) {
          convert<Tracked, Tracked>(each);
        }
      },
      op);
}

}  // namespace vretnet::reference
