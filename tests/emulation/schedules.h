// The schedules that tests of the emulated backend run in.
#pragma once

#include <array>

#include "tests/emulation/emulator.h"

namespace vretnet::emulation {

inline constexpr std::array<Schedule, 4> kSchedules = {
    {{Order::ascending, 0}, {Order::descending, 0}, {Order::random, 1}, {Order::random, 2}}};

}  // namespace vretnet::emulation
