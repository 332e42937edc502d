#include <utility>

#include "core/ops/backend.h"

namespace vretnet {

Allocation::Allocation(Backend& backend, std::size_t bytes)
    : backend_(&backend), buffer_(std::make_unique<Buffer>()) {
  buffer_->data = backend.allocate(bytes);
  buffer_->bytes = bytes;
}

Allocation::Allocation(Backend& backend, DType dtype, const Shape& shape)
    : Allocation(backend, static_cast<std::size_t>(shape.elements()) * bytes_of(dtype)) {
  view_ = View(buffer_.get(), dtype, shape);
  backend.fill(view_, 0);
}

Allocation::Allocation(Allocation&& other) noexcept
    : backend_(std::exchange(other.backend_, nullptr)),
      buffer_(std::move(other.buffer_)),
      view_(std::exchange(other.view_, View())) {}

Allocation& Allocation::operator=(Allocation&& other) noexcept {
  std::swap(backend_, other.backend_);
  std::swap(buffer_, other.buffer_);
  std::swap(view_, other.view_);
  return *this;
}

Allocation::~Allocation() {
  if (buffer_) backend_->release(buffer_->data);
}

void set_workspace(ops::Op& op, const View& workspace) {
  std::visit(
      [&](auto& each) {
        if constexpr (requires { each.workspace; }) each.workspace = workspace;
      },
      op);
}

}  // namespace vretnet
