#include "core/base/ensure.h"

#include <cstdio>
#include <cstdlib>

namespace vretnet {

void broken_promise(const char* file, int line, const char* condition, const std::string& message) {
  std::fflush(stdout);
  std::fprintf(stderr, "%s:%d: broken promise (%s): %s\n", file, line, condition, message.c_str());
  std::abort();
}

}  // namespace vretnet
