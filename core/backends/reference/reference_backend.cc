#include "core/backends/reference/reference_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/backends/reference/kernels.h"
#include "core/backends/reference/rounded.h"
#include "core/base/ensure.h"
#include "core/base/error.h"
#include "core/ops/composed.h"
#include "core/ops/fields.h"
#include "core/retention/retention.h"
#include "core/tensor/bfloat16.h"

namespace vretnet::reference {
namespace {

constexpr std::size_t kAlignment = 64;

template <class T>
void fill_elements(const View& target, double value) {
  std::fill_n(target.data<T>(), target.elements(), static_cast<T>(value));
}

class ReferenceBackend final : public Backend {
 public:
  std::string name() const override { return "reference"; }
  std::string description() const override { return "plain loops, one thread, f32, f64 and bf16"; }
  bool runs_in(DType dtype) const override { return dtype != DType::s8; }

  void run(const ops::Op& op) override {
    if (has_bf16(op)) return run_rounded(*this, op);
    std::visit([&](const auto& each) { run_one(each, ops::dtype_of(op)); }, op);
  }

  std::size_t workspace_bytes(const ops::Op& op) const override {
    if (has_bf16(op)) return 0;
    return std::visit([&](const auto& each) { return workspace_of(each); }, op);
  }

  void* allocate(std::size_t bytes) override {
    const std::size_t rounded = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    void* data = rounded < bytes ? nullptr : std::aligned_alloc(kAlignment, rounded);
    if (data == nullptr) throw RunError(fmt::format("no memory for {} bytes", bytes));
    return data;
  }
  void release(void* data) override { std::free(data); }

  void upload(const View& target, const void* host) override {
    ensure(target.contiguous(), "an upload to {} with gaps", target.shape().text());
    if (target.elements() > 0) std::memcpy(target.data<void>(), host, bytes_in(target));
  }
  void download(const View& source, void* host) override {
    ensure(source.contiguous(), "a download of {} with gaps", source.shape().text());
    if (source.elements() > 0) std::memcpy(host, source.data<void>(), bytes_in(source));
  }
  void fill(const View& target, double value) override {
    ensure(target.contiguous(), "a fill of {} with gaps", target.shape().text());
    if (target.elements() == 0) return;
    switch (target.dtype()) {
      case DType::f32:
        return fill_elements<float>(target, value);
      case DType::f64:
        return fill_elements<double>(target, value);
      case DType::bf16:
        std::fill_n(target.data<BFloat16>(), target.elements(), to_bfloat16(static_cast<float>(value)));
        return;
      case DType::s8:
        return fill_elements<std::int8_t>(target, value);
    }
  }

 private:
  static bool has_bf16(const ops::Op& op) {
    bool found = false;
    ops::for_each_field(op, [&](const ops::Field& field) {
      found = found || (field.view && field.view.dtype() == DType::bf16);
    });
    return found;
  }

  void run_one(const auto& op, DType dtype) {
    dtype == DType::f32 ? reference::run<float>(op) : reference::run<double>(op);
  }
  void run_one(const ops::Convert& op, DType from) {
    if (op.y.dtype() == DType::f32) {
      from == DType::f32 ? convert<float, float>(op) : convert<double, float>(op);
    } else {
      from == DType::f32 ? convert<float, double>(op) : convert<double, double>(op);
    }
  }
  void run_one(const ops::Retention& op, DType dtype) { run_retention(op, dtype); }
  void run_one(const ops::RetentionGradient& op, DType dtype) { run_retention(op, dtype); }
  void run_one(const ops::RetentionBlock& op, DType) { ops::run_composed(*this, op); }
  void run_one(const ops::RetentionBlockGradient& op, DType) { ops::run_composed(*this, op); }
  static void run_retention(const auto& op, DType dtype) {
    dtype == DType::f32 ? retention::run<float>(op) : retention::run<double>(op);
  }

  static std::size_t workspace_of(const auto&) { return 0; }
  static std::size_t workspace_of(const ops::Retention& op) { return retention::workspace_bytes(op); }
  static std::size_t workspace_of(const ops::RetentionGradient& op) { return retention::workspace_bytes(op); }
  std::size_t workspace_of(const ops::RetentionBlock& op) const {
    return ops::composed_workspace_bytes(*this, op);
  }
  std::size_t workspace_of(const ops::RetentionBlockGradient& op) const {
    return ops::composed_workspace_bytes(*this, op);
  }

  static std::size_t bytes_in(const View& view) {
    return static_cast<std::size_t>(view.elements()) * bytes_of(view.dtype());
  }
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() {
  return std::make_unique<ReferenceBackend>();
}

}  // namespace vretnet::reference
