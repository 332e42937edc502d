// Planned memory for activations and gradients. A dry run (no memory, ops not run) makes the same calls as a
// step and measures the peak; the memory is then allocated once, and a step allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/tensor/view.h"

namespace vretnet {

class Tensor;

// First fit over one buffer, offsets in bytes, 64-byte aligned. The same calls give the same offsets. Not
// thread-safe.
class Arena {
 public:
  // While measuring (`buffer` null) offsets have no bound; otherwise running out is a broken promise.
  // `on_release`, where given, sees the bytes of every block that its last owner gives back, [bytes] of s8;
  // it must not throw.
  using OnRelease = std::function<void(const View& bytes)>;
  explicit Arena(const Buffer* buffer = nullptr, OnRelease on_release = {});
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  Tensor make(DType dtype, const Shape& shape);
  std::size_t peak_bytes() const { return peak_; }
  std::size_t bytes_in_use() const { return in_use_; }

 private:
  friend class Tensor;
  struct Block {
    std::size_t offset, bytes;
    int owners;  // 0: a free slot of blocks_
  };
  int take(std::size_t bytes);
  void release(int block);

  Buffer measuring_;
  const Buffer* buffer_;
  OnRelease on_release_;
  std::size_t capacity_;
  std::vector<Block> blocks_;   // slots, addressed by index; never shrinks
  std::vector<int> by_offset_;  // used slots in order of their offset
  std::size_t peak_ = 0, in_use_ = 0;
};

// A View that keeps its arena block: copies share the block, the last one gives it back. A Tensor made from
// a plain View owns nothing. Converts to View wherever an op wants one.
class Tensor {
 public:
  Tensor() = default;
  Tensor(const View& view) : view_(view) {}  // borrowed, NOLINT(google-explicit-constructor)
  Tensor(const Tensor& other);
  Tensor(Tensor&& other) noexcept;
  Tensor& operator=(Tensor other) noexcept;
  ~Tensor();

  operator const View&() const { return view_; }  // NOLINT(google-explicit-constructor)
  const View& view() const { return view_; }
  explicit operator bool() const { return static_cast<bool>(view_); }
  Tensor with_view(const View& view) const;  // the same block seen otherwise

 private:
  friend class Arena;
  Tensor(Arena* arena, int block, const View& view) : arena_(arena), block_(block), view_(view) {}

  Arena* arena_ = nullptr;
  int block_ = -1;
  View view_;
};

}  // namespace vretnet
