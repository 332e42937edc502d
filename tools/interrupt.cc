#include "tools/interrupt.h"

#include <unistd.h>

#include <csignal>
#include <cstring>

namespace vretnet::tools {
namespace {

volatile std::sig_atomic_t requested = 0;

extern "C" void on_signal(int) {
  if (requested) ::_exit(kInterrupted);
  requested = 1;
  constexpr char kMessage[] = "\nstopping after this step (again to abort) ...\n";
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, kMessage, std::strlen(kMessage));
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

bool interrupt_requested() {
  return requested != 0;
}

}  // namespace vretnet::tools
