// Memory around what kernels may touch, hidden from them: under AddressSanitizer every access to it ends the
// program. In other builds nothing is hidden, and the red zones there show what was written to them.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace vretnet::emulation {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kHidesMemory = true;
inline void hide_memory(const void* begin, std::size_t bytes) {
  ASAN_POISON_MEMORY_REGION(begin, bytes);
}
inline void show_memory(const void* begin, std::size_t bytes) {
  ASAN_UNPOISON_MEMORY_REGION(begin, bytes);
}
#else
inline constexpr bool kHidesMemory = false;
inline void hide_memory(const void*, std::size_t) {}
inline void show_memory(const void*, std::size_t) {}
#endif

}  // namespace vretnet::emulation
