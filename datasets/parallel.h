// The same work for many samples, on several threads. For use inside datasets.
#pragma once

#include <cstdint>
#include <functional>

namespace vretnet::datasets {

// body(i) for i = 0 … count − 1, each once, by `workers` threads (0: by the caller); returns when all are
// done. The first exception stops the handing out and is thrown here. `progress` (may be empty) is called
// with the number done about a hundred times, and at the end, by one thread at a time.
void for_each(std::int64_t count, int workers, const std::function<void(std::int64_t)>& body,
              const std::function<void(std::int64_t done, std::int64_t total)>& progress = {});

}  // namespace vretnet::datasets
