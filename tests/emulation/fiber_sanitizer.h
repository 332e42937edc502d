// Tells AddressSanitizer that the stack changes; nothing in other builds. In the order of a switch and back:
//   scheduler: switch_to_fiber, jump …      fiber: … arrive_in_fiber, works, leave_fiber, jump
//   scheduler: … return_from_fiber
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace vretnet::emulation {

struct FiberStack {
  char* bottom = nullptr;
  std::size_t bytes = 0;
  void* fake = nullptr;  // the sanitizer's own, while the fiber waits
};

#if defined(__SANITIZE_ADDRESS__)
struct SchedulerStack {
  void* fake = nullptr;
  const void* bottom = nullptr;
  std::size_t bytes = 0;
};
inline SchedulerStack scheduler_stack;

inline void switch_to_fiber(const FiberStack& to) {
  __sanitizer_start_switch_fiber(&scheduler_stack.fake, to.bottom, to.bytes);
}
inline void arrive_in_fiber(const FiberStack& here) {
  __sanitizer_finish_switch_fiber(here.fake, &scheduler_stack.bottom, &scheduler_stack.bytes);
}
inline void leave_fiber(FiberStack& here, bool for_good) {
  __sanitizer_start_switch_fiber(for_good ? nullptr : &here.fake, scheduler_stack.bottom,
                                 scheduler_stack.bytes);
}
inline void return_from_fiber(const FiberStack&) {
  __sanitizer_finish_switch_fiber(scheduler_stack.fake, nullptr, nullptr);
}
// A fiber that never ends: what its frames had marked in its stack is not true of the next one there.
inline void abandon_fiber(const FiberStack& stack) {
  ASAN_UNPOISON_MEMORY_REGION(stack.bottom, stack.bytes);
}
#else
inline void switch_to_fiber(const FiberStack&) {}
inline void arrive_in_fiber(const FiberStack&) {}
inline void leave_fiber(FiberStack&, bool) {}
inline void return_from_fiber(const FiberStack&) {}
inline void abandon_fiber(const FiberStack&) {}
#endif

}  // namespace vretnet::emulation
