// Memory of this process as the system counts it: resident pages, libraries and caches included.
#pragma once

#include <cstddef>

namespace vretnet::measure {

// Gives unused memory back to the system and starts a new peak. Where the system cannot (other than Linux,
// or it refuses), the peak stays that of the whole process so far.
void start_new_peak();
std::size_t resident_memory();  // bytes now; 0 where the system does not tell
// Bytes of the highest peak since then.
std::size_t peak_memory();

}  // namespace vretnet::measure
