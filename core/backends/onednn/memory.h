// Memory for the backend and for what it keeps.
#pragma once

#include <cstddef>

namespace vretnet::onednn {

// 64-byte aligned memory for std::free, large pages where they pay. Throws RunError when there is none.
void* allocate_memory(std::size_t bytes);

}  // namespace vretnet::onednn
