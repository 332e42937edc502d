// Internal promises. A broken one is a bug of ours, never a user's mistake: the program stops and prints
// the place, the two numbers and what was promised.
#pragma once

#include <fmt/format.h>

#include <string>

namespace vretnet {

[[noreturn]] void broken_promise(const char* file, int line, const char* condition,
                                 const std::string& message);

}  // namespace vretnet

// ensure(rows == y.extent(0), "rows {} against {}", rows, y.extent(0));
#define ensure(condition, ...) \
  ((condition) ? void(0)       \
               : ::vretnet::broken_promise(__FILE__, __LINE__, #condition, ::fmt::format(__VA_ARGS__)))
