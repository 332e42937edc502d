// A retention pattern in one line.
#pragma once

#include "core/ops/ops.h"

namespace vretnet::testing {

inline ops::RetentionPattern pattern_of(ops::DecayKind decay, bool bidirectional, std::int64_t row_width) {
  return {.decay = decay, .bidirectional = bidirectional, .row_width = row_width};
}

}  // namespace vretnet::testing
