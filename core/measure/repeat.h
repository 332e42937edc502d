// Runs something again and again and notes how long each time took.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/ops/backend.h"

namespace vretnet::measure {

struct RepeatOptions {
  std::int64_t warm_up = 2;  // runs that are not counted: plans, compiled kernels, pages, clock
  std::int64_t repeats = 10;
  double seconds = 0.5;        // goes on until so much was measured, but not beyond kMostRepeats
  Backend* machine = nullptr;  // waited for; its own clock, where it has one, times the runs, else the host's
};
inline constexpr std::int64_t kMostRepeats = 1000;

// Seconds of each counted run. `stop` is asked after every run; once it says true, what was measured so far
// is returned.
std::vector<double> repeat(const std::function<void()>& run, const RepeatOptions& options,
                           const std::function<bool()>& stop = {});

}  // namespace vretnet::measure
