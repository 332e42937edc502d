#include "core/measure/process_memory.h"

#include <malloc.h>
#include <sys/resource.h>

#include <fstream>
#include <string>

namespace vretnet::measure {
namespace {

// A line of proc(5)'s status, such as "VmHWM:    1234 kB", in bytes; 0: none.
std::size_t status_bytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name)) return std::stoull(line.substr(name.size())) << 10;
  }
  return 0;
}

}  // namespace

void start_new_peak() {
  ::malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";  // see proc(5): resets VmHWM
}

std::size_t resident_memory() {
  return status_bytes("VmRSS:");
}

std::size_t peak_memory() {
  if (const std::size_t highest = status_bytes("VmHWM:"); highest > 0) return highest;
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) << 10;
}

}  // namespace vretnet::measure
