// The learning rate as a pure function of the step, so that a resumed run needs no state for it.
#pragma once

#include <cstdint>

namespace vretnet::training {

struct Schedule {
  double peak = 1e-3;     // after warm-up
  double minimum = 1e-5;  // at the last step
  double warmup_start = 1e-6;
  std::int64_t warmup_steps = 0;
  std::int64_t total_steps = 1;  // without the cool-down
  bool constant = false;         // stays at peak after warm-up instead of following the cosine
  bool cooldown = false;         // a constant rate falls to the minimum, too, from total_steps on
};

// Linear from warmup_start to peak over the warm-up, then half a cosine to the minimum (Loshchilov & Hutter
// 2017, as timm's CosineLRScheduler stepped by update). step counts from 0.
double learning_rate(const Schedule& schedule, std::int64_t step);

}  // namespace vretnet::training
