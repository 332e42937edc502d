// Cuts an op's workspace into tensors. The same calls measure (without memory) and run, so that an op's
// workspace_bytes and its run cannot disagree:
//   Workspace workspace;          …take… take…   workspace.bytes() is what to ask for
//   Workspace workspace(op.workspace);   …the same takes… are the tensors
#pragma once

#include <cstddef>

#include "core/tensor/view.h"

namespace vretnet::ops {

// The shape of memory that holds a workspace of so many bytes.
inline Shape workspace_shape(std::size_t bytes, DType dtype) {
  return {static_cast<std::int64_t>((bytes + bytes_of(dtype) - 1) / bytes_of(dtype))};
}

// Does not own memory. A workspace is bytes: a contiguous view of any dtype, first byte 64-byte aligned in
// its buffer.
class Workspace {
 public:
  Workspace() : buffer_(&measuring_) {}       // measures: views without memory
  explicit Workspace(const View& workspace);  // running out of it is a broken promise
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  View take(DType dtype, const Shape& shape);  // contiguous, 64-byte aligned, content undefined
  View take_bytes(std::size_t bytes);          // the workspace of a nested op; empty for 0 bytes
  std::size_t bytes() const { return used_; }  // taken so far, rounded up

 private:
  Buffer measuring_;
  const Buffer* buffer_;
  std::size_t begin_ = 0, used_ = 0, capacity_ = static_cast<std::size_t>(-1);
};

}  // namespace vretnet::ops
