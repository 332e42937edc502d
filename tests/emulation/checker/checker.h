// Watches every memory access of emulated kernels that are compiled with -fsanitize=thread: its hooks are
// ours, not the sanitizer's. Between barriers it finds
//   races           two threads touch one word, one of them writes, and nothing orders them (blocks are never
//   ordered;
//                   threads of a block are by __syncthreads, lanes of a warp by __syncwarp too, by a shuffle
//                   not)
//   uninitialised   a word is read that nothing wrote since its memory was taken (shared: since the block
//   began)
//   out of bounds   neither shared memory, nor device memory, nor the thread's own stack
//   another device  memory of a device that the kernel does not run on
// and notes each as a violation of the emulator. It also counts how a warp's accesses fall into sectors and
// banks.
#pragma once

#include <cstdint>
#include <string>

namespace vretnet::emulation {

// From construction to destruction; one at a time. Without one the hooks do nothing.
class Checker {
 public:
  explicit Checker(bool counts = false);
  ~Checker();
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;

  // Of all warps' accesses so far. `least` is what the same bytes need at best.
  struct Counters {
    std::int64_t sectors = 0, least_sectors = 0;        // of 32 bytes, global memory
    std::int64_t wavefronts = 0, least_wavefronts = 0;  // of 32 banks, shared memory
  };
  const Counters& counters() const;
};

}  // namespace vretnet::emulation
