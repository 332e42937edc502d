#include "core/tensor/arena.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/base/ensure.h"

namespace vretnet {
namespace {
constexpr std::size_t kAlignment = 64;
constexpr std::size_t kExpectedBlocks = 1024;  // reserved up front, so that a step does not grow the lists
}  // namespace

Arena::Arena(const Buffer* buffer, OnRelease on_release)
    : buffer_(buffer ? buffer : &measuring_),
      on_release_(std::move(on_release)),
      capacity_(buffer ? buffer->bytes : std::numeric_limits<std::size_t>::max()) {
  blocks_.reserve(kExpectedBlocks);
  by_offset_.reserve(kExpectedBlocks);
}

Tensor Arena::make(DType dtype, const Shape& shape) {
  const int block = take(static_cast<std::size_t>(shape.elements()) * bytes_of(dtype));
  return Tensor(
      this, block,
      View(buffer_, dtype, shape, static_cast<std::int64_t>(blocks_[block].offset / bytes_of(dtype))));
}

int Arena::take(std::size_t bytes) {
  bytes = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  std::size_t offset = 0;
  std::size_t position = 0;  // in by_offset_, where the new block goes
  for (; position < by_offset_.size(); ++position) {
    const Block& next = blocks_[by_offset_[position]];
    if (next.offset - offset >= bytes) break;
    offset = next.offset + next.bytes;
  }
  ensure(offset <= capacity_ && bytes <= capacity_ - offset,
         "the arena holds {} bytes, {} more were wanted at {}", capacity_, bytes, offset);

  const auto unused =
      std::find_if(blocks_.begin(), blocks_.end(), [](const Block& block) { return block.owners == 0; });
  const int slot = static_cast<int>(unused - blocks_.begin());
  if (unused == blocks_.end()) blocks_.emplace_back();
  blocks_[slot] = {offset, bytes, 1};
  by_offset_.insert(by_offset_.begin() + static_cast<std::ptrdiff_t>(position), slot);
  in_use_ += bytes;
  peak_ = std::max(peak_, offset + bytes);
  return slot;
}

void Arena::release(int slot) {
  Block& block = blocks_[slot];
  if (--block.owners > 0) return;
  in_use_ -= block.bytes;
  by_offset_.erase(std::find(by_offset_.begin(), by_offset_.end(), slot));
  if (on_release_) {
    on_release_(View(buffer_, DType::s8, {static_cast<std::int64_t>(block.bytes)},
                     static_cast<std::int64_t>(block.offset)));
  }
}

Tensor::Tensor(const Tensor& other) : arena_(other.arena_), block_(other.block_), view_(other.view_) {
  if (arena_) ++arena_->blocks_[block_].owners;
}

Tensor::Tensor(Tensor&& other) noexcept
    : arena_(std::exchange(other.arena_, nullptr)),
      block_(other.block_),
      view_(std::exchange(other.view_, View())) {}

Tensor& Tensor::operator=(Tensor other) noexcept {
  std::swap(arena_, other.arena_);
  std::swap(block_, other.block_);
  std::swap(view_, other.view_);
  return *this;
}

Tensor::~Tensor() {
  if (arena_) arena_->release(block_);
}

Tensor Tensor::with_view(const View& view) const {
  Tensor other = *this;
  other.view_ = view;
  return other;
}

}  // namespace vretnet
