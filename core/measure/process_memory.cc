#include "core/measure/process_memory.h"

#include <malloc.h>
#include <sys/resource.h>

#include <fstream>
#include <string>

namespace vretnet::measure {

void start_new_peak() {
  ::malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";  // see proc(5): resets VmHWM
}

std::size_t peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(line.find(':') + 1)) << 10;
  }
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) << 10;
}

}  // namespace vretnet::measure
