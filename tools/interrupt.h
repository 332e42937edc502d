// Ctrl-C and SIGTERM that save first. The first signal asks for a stop, which the work sees between two
// steps; the second one ends the program at once.
#pragma once

namespace vretnet::tools {

inline constexpr int kInterrupted = 130;  // the exit code after a stop that was asked for

void catch_interrupts();     // from now on
bool interrupt_requested();  // true once a signal has come

}  // namespace vretnet::tools
