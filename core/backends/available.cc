#include "core/backends/available.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>

#include "core/backends/cuda_module.h"
#include "core/backends/onednn/onednn_backend.h"
#include "core/backends/reference/reference_backend.h"
#include "core/base/error.h"

namespace vretnet {
namespace {

// N of "cuda:N", 0 of "cuda", −1 of all else.
int cuda_device(const std::string& name) {
  if (name == "cuda") return 0;
  if (!name.starts_with("cuda:")) return -1;
  int device = -1;
  const auto [end, error] = std::from_chars(name.data() + 5, name.data() + name.size(), device);
  return error == std::errc() && end == name.data() + name.size() ? device : -1;
}

}  // namespace

std::vector<std::string> available_backends() {
  return {"onednn", "reference"};
}

std::unique_ptr<Backend> make_backend(const std::string& name, int threads) {
  if (name == "onednn") return make_onednn_backend(threads);
  if (name == "reference") return reference::make_reference_backend();
  if (const int device = cuda_device(name); device >= 0) return load_cuda_backend(device);
  throw UsageError(
      fmt::format("backend \"{}\" is unknown; available: {}", name, fmt::join(available_backends(), ", ")));
}

}  // namespace vretnet
