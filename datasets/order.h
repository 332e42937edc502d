// Random orders, and what tells the random streams of one seed apart. For use inside datasets.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "core/base/random.h"

namespace vretnet::datasets {

// The first step of every Random's path here: the streams of different uses never meet. The numbers are part
// of what a seed means: changing one changes every run.
// 7 is that of core/training/mixing.cc.
enum class Purpose : std::uint64_t { Order = 1, Augment = 2, Split = 3, Limit = 4, Disturb = 5, Balance = 6 };

// Fisher and Yates.
inline void shuffle(std::vector<std::int64_t>& values, Random random) {
  for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.below(i)]);
}

}  // namespace vretnet::datasets
