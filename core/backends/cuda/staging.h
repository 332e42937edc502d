// How data crosses between host and device. Uploads go through two pinned buffers and a copy stream of their
// own, so that the next batch travels while the device still computes; a downloaded value is waited for.
#pragma once

#include <array>
#include <cstddef>

#include "core/backends/cuda/device.h"

namespace vretnet::cuda {

class Staging {
 public:
  // Copies are in order with `compute`'s work.
  explicit Staging(const Stream& compute);
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // The host memory may be used again when this returns; `target` is written when compute's earlier work is
  // done.
  void upload(void* target, const void* host, std::size_t bytes);
  void download(const void* source, void* host, std::size_t bytes);

 private:
  // One of the two ways up: pinned host memory, and device memory that the copy stream fills.
  struct Slot {
    void *pinned = nullptr, *device = nullptr;
    std::size_t bytes = 0;
    Event arrived, used;
    Slot() = default;
    ~Slot();
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
  };
  // Makes room for `bytes`, or for as much as there is memory for.
  void grow(Slot& slot, std::size_t bytes);

  const Stream& compute_;
  Stream copies_;
  std::array<Slot, 2> slots_;
  std::size_t next_ = 0;
  std::size_t most_ = std::size_t{64} << 20;  // larger uploads go in pieces
  Slot down_;                                 // pinned memory alone
};

}  // namespace vretnet::cuda
