#include "tools/interrupt.h"

#include <unistd.h>

#include <csignal>
#include <cstring>

namespace vretnet::tools {
namespace {

volatile std::sig_atomic_t requested = 0;

// A terminal that closes often sends SIGHUP twice, by the shell and by the kernel: that is no second wish.
extern "C" void on_signal(int signal) {
  if (requested && signal == SIGHUP) return;
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
  struct sigaction before {};
  ::sigaction(SIGHUP, nullptr, &before);
  if (before.sa_handler != SIG_IGN) ::sigaction(SIGHUP, &action, nullptr);  // else under nohup
}

bool interrupt_requested() {
  return requested != 0;
}

}  // namespace vretnet::tools
