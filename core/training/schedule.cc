#include "core/training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace vretnet::training {

double learning_rate(const Schedule& schedule, std::int64_t step) {
  if (step < schedule.warmup_steps) {
    const double part = static_cast<double>(step) / static_cast<double>(schedule.warmup_steps);
    return schedule.warmup_start + (schedule.peak - schedule.warmup_start) * part;
  }
  if (schedule.cooldown && step >= schedule.total_steps) return schedule.minimum;
  if (schedule.constant) return schedule.peak;
  const auto length =
      static_cast<double>(std::max<std::int64_t>(1, schedule.total_steps - schedule.warmup_steps));
  const double part = std::min(1.0, static_cast<double>(step - schedule.warmup_steps) / length);
  return schedule.minimum +
         0.5 * (schedule.peak - schedule.minimum) * (1 + std::cos(std::numbers::pi * part));
}

}  // namespace vretnet::training
