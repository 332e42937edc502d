#include "core/measure/repeat.h"

#include <algorithm>
#include <chrono>

namespace vretnet::measure {

std::vector<double> repeat(const std::function<void()>& run, const RepeatOptions& options,
                           const std::function<bool()>& stop) {
  using Clock = std::chrono::steady_clock;
  const auto stopped = [&] { return stop && stop(); };
  for (std::int64_t i = 0; i < options.warm_up && !stopped(); ++i) run();
  if (options.machine) options.machine->synchronize();
  const bool own_clock = options.machine && options.machine->has_clock();
  std::vector<double> times;
  double total = 0;
  const auto enough = [&] {
    const auto count = static_cast<std::int64_t>(times.size());
    return count >= options.repeats && (total >= options.seconds || count >= kMostRepeats);
  };
  while (!enough() && !stopped()) {
    const Clock::time_point began = Clock::now();
    if (own_clock) options.machine->start_clock();
    run();
    // The clock first: it stops with what was queued, and waits itself.
    const double own_seconds = own_clock ? options.machine->read_clock() : 0;
    if (options.machine) options.machine->synchronize();
    const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
    times.push_back(own_clock ? own_seconds : seconds);
    total += seconds;
  }
  return times;
}

}  // namespace vretnet::measure
