#include "core/ops/checked_backend.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "core/base/ensure.h"
#include "core/base/error.h"
#include "core/ops/fields.h"
#include "core/tensor/bfloat16.h"

namespace vretnet {
namespace {

constexpr std::size_t kGuard = 64;  // bytes before and behind; keeps the alignment
constexpr int kGuardByte = 0xA5;
constexpr int kNanByte = 0xFF;  // all ones is a NaN in every float type

template <class T>
bool finite(const T* first, std::int64_t count) {
  return std::all_of(first, first + count, [](T value) { return std::isfinite(value); });
}
bool finite(const BFloat16* first, std::int64_t count) {
  return std::all_of(first, first + count, [](BFloat16 value) { return std::isfinite(to_float(value)); });
}

// The innermost rows of a view, which have stride 1 in every output.
template <class T>
void check_finite(const View& view, const char* op, const char* field) {
  std::array<std::int64_t, kMaxRank> index{};
  const std::int64_t width = view.rank() > 0 ? view.extent(-1) : 1;
  if (view.elements() == 0) return;
  for (std::int64_t row = 0; row < view.elements() / width; ++row) {
    std::int64_t offset = 0;
    for (int axis = 0; axis + 1 < view.rank(); ++axis) offset += index[axis] * view.stride(axis);
    if (!finite(view.data<T>() + offset, width)) {
      throw RunError(fmt::format("{}: {} of {} holds a NaN or an infinity in row {}", op, field,
                                 view.shape().text(), row));
    }
    for (int axis = view.rank() - 2; axis >= 0 && ++index[axis] == view.extent(axis); --axis) index[axis] = 0;
  }
}

View workspace_of(const ops::Op& op) {
  return std::visit(
      [](const auto& each) {
        if constexpr (requires { each.workspace; }) return each.workspace;
        return View();
      },
      op);
}

}  // namespace

void CheckedBackend::run(const ops::Op& op) {
  ops::validate(op);
  const char* name = ops::name_of(op);
  const View workspace = workspace_of(op);
  const std::size_t wanted = workspace_bytes(op);
  const std::size_t given =
      workspace ? static_cast<std::size_t>(workspace.elements()) * bytes_of(workspace.dtype()) : 0;
  ensure(given >= wanted, "{}: a workspace of {} bytes, {} are needed", name, given, wanted);
  if (given > 0) std::memset(workspace.data<char>(), kNanByte, given);
  inner().run(op);
  inner().synchronize();
  check_guards(name);
  ops::for_each_field(op, [&](const ops::Field& field) {
    if (!field.view || field.use == ops::Use::read) return;
    switch (field.view.dtype()) {
      case DType::f32:
        return check_finite<float>(field.view, name, field.name);
      case DType::f64:
        return check_finite<double>(field.view, name, field.name);
      case DType::bf16:
        return check_finite<BFloat16>(field.view, name, field.name);
      case DType::s8:
        return;  // all integers are finite
    }
  });
}

void* CheckedBackend::allocate(std::size_t bytes) {
  char* outer = static_cast<char*>(inner().allocate(bytes + 2 * kGuard));
  std::memset(outer, kGuardByte, kGuard);
  std::memset(outer + kGuard, kNanByte, bytes);
  std::memset(outer + kGuard + bytes, kGuardByte, kGuard);
  allocations_[outer + kGuard] = bytes;
  return outer + kGuard;
}

void CheckedBackend::release(void* data) {
  if (data == nullptr) return;
  check_guards("a release");
  ensure(allocations_.erase(data) == 1, "memory was released that was not allocated ({})", fmt::ptr(data));
  inner().release(static_cast<char*>(data) - kGuard);
}

void CheckedBackend::check_guards(const char* op) const {
  const auto untouched = [](const unsigned char* guard) {
    return std::all_of(guard, guard + kGuard, [](unsigned char byte) { return byte == kGuardByte; });
  };
  for (const auto& [data, bytes] : allocations_) {
    const auto* first = static_cast<const unsigned char*>(data);
    ensure(untouched(first - kGuard), "{} wrote before an allocation of {} bytes", op, bytes);
    ensure(untouched(first + bytes), "{} wrote behind an allocation of {} bytes", op, bytes);
  }
}

}  // namespace vretnet
