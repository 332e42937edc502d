// Runs tests of vector kernels with each instruction set that they are compiled for and this processor has.
#pragma once

#include <gtest/gtest.h>
#include <hwy/highway.h>

namespace vretnet::testing {

template <class Run>
void for_each_instruction_set(const Run& run) {
  const std::int64_t supported = hwy::SupportedTargets() | HWY_SCALAR;
  for (const std::int64_t target : {HWY_AVX3, HWY_AVX2, HWY_NEON, HWY_SCALAR}) {
    if ((supported & target) == 0) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::GetChosenTarget().Update(target);
    run();
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace vretnet::testing
