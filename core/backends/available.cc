#include "core/backends/available.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/backends/onednn/onednn_backend.h"
#include "core/backends/reference/reference_backend.h"
#include "core/base/error.h"

namespace vretnet {

std::vector<std::string> available_backends() {
  return {"onednn", "reference"};
}

std::unique_ptr<Backend> make_backend(const std::string& name, int threads) {
  if (name == "onednn") return make_onednn_backend(threads);
  if (name == "reference") return reference::make_reference_backend();
  throw UsageError(
      fmt::format("backend \"{}\" is unknown; available: {}", name, fmt::join(available_backends(), ", ")));
}

}  // namespace vretnet
