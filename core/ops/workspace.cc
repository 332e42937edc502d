#include "core/ops/workspace.h"

#include "core/base/ensure.h"

namespace vretnet::ops {
namespace {

constexpr std::size_t kAlignment = 64;

}  // namespace

Workspace::Workspace(const View& workspace) : buffer_(workspace.buffer()) {
  if (!workspace) {
    capacity_ = 0;
    return;
  }
  ensure(workspace.contiguous(), "a workspace of {} has gaps", workspace.shape().text());
  begin_ = static_cast<std::size_t>(workspace.offset()) * bytes_of(workspace.dtype());
  capacity_ = static_cast<std::size_t>(workspace.elements()) * bytes_of(workspace.dtype());
  ensure(begin_ % kAlignment == 0, "a workspace begins at byte {}, not at a multiple of {}", begin_,
         kAlignment);
}

View Workspace::take(DType dtype, const Shape& shape) {
  const std::size_t bytes = static_cast<std::size_t>(shape.elements()) * bytes_of(dtype);
  const std::size_t begin = used_;
  used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  ensure(used_ <= capacity_, "a workspace of {} bytes has no room for {} more at {}", capacity_, bytes,
         begin);
  return View(buffer_, dtype, shape, static_cast<std::int64_t>((begin_ + begin) / bytes_of(dtype)));
}

View Workspace::take_bytes(std::size_t bytes) {
  if (bytes == 0) return {};
  return take(DType::f32, {static_cast<std::int64_t>((bytes + 3) / 4)});
}

}  // namespace vretnet::ops
