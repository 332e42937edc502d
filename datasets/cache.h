// Decoded pictures kept in memory from the first epoch on.
#pragma once

#include "datasets/dataset.h"

namespace vretnet::datasets {

enum class CacheMode {
  Auto,  // up to kAutoCacheShare of the memory that was free at the start; what does not fit is decoded each
         // time
  Ram,   // all, whatever it takes
  Off,
};

inline constexpr double kAutoCacheShare = 0.25;

// "auto", "ram" or "off". Throws UsageError.
CacheMode parse_cache_mode(const std::string& text);

// Bytes that can be taken without swapping (/proc/meminfo's MemAvailable, and what the control group leaves).
std::int64_t available_memory();

// `dataset` behind a cache of 8-bit pictures, filled as they are read; itself where the mode is Off or it
// lies in memory anyway. Pictures that cannot be read are remembered, too, with their error. `budget` in
// bytes overrides the mode's (for tests).
DatasetPointer cached(DatasetPointer dataset, CacheMode mode, std::int64_t budget = -1);

}  // namespace vretnet::datasets
