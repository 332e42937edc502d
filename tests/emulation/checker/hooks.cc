// The functions that -fsanitize=thread makes kernels call, in place of the sanitizer's own.
#include <cstddef>

namespace vretnet::emulation {
void watch_access(const void* data, std::size_t bytes, bool writes, const void* place);
}
using vretnet::emulation::watch_access;

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

#define VRETNET_HOOK(name, bytes, writes)                           \
  void name(void* data) {                                           \
    watch_access(data, bytes, writes, __builtin_return_address(0)); \
  }
VRETNET_HOOK(__tsan_read1, 1, false)
VRETNET_HOOK(__tsan_read2, 2, false)
VRETNET_HOOK(__tsan_read4, 4, false)
VRETNET_HOOK(__tsan_read8, 8, false)
VRETNET_HOOK(__tsan_read16, 16, false)
VRETNET_HOOK(__tsan_write1, 1, true)
VRETNET_HOOK(__tsan_write2, 2, true)
VRETNET_HOOK(__tsan_write4, 4, true)
VRETNET_HOOK(__tsan_write8, 8, true)
VRETNET_HOOK(__tsan_write16, 16, true)
VRETNET_HOOK(__tsan_unaligned_read2, 2, false)
VRETNET_HOOK(__tsan_unaligned_read4, 4, false)
VRETNET_HOOK(__tsan_unaligned_read8, 8, false)
VRETNET_HOOK(__tsan_unaligned_read16, 16, false)
VRETNET_HOOK(__tsan_unaligned_write2, 2, true)
VRETNET_HOOK(__tsan_unaligned_write4, 4, true)
VRETNET_HOOK(__tsan_unaligned_write8, 8, true)
VRETNET_HOOK(__tsan_unaligned_write16, 16, true)
#undef VRETNET_HOOK

void __tsan_read_range(void* data, unsigned long bytes) {
  watch_access(data, bytes, false, __builtin_return_address(0));
}
void __tsan_write_range(void* data, unsigned long bytes) {
  watch_access(data, bytes, true, __builtin_return_address(0));
}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

}  // extern "C"
