#include "core/backends/available.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <utility>

#include "core/backends/cuda_module.h"
#include "core/backends/onednn/onednn_backend.h"
#include "core/backends/reference/reference_backend.h"
#include "core/base/error.h"

namespace vretnet {
namespace {

// {N, M, …} of "cuda:N,M,…", {0} of "cuda", nothing of all else.
std::vector<int> cuda_devices(const std::string& name) {
  if (name == "cuda") return {0};
  if (!name.starts_with("cuda:")) return {};
  std::vector<int> devices;
  const char* end = name.data() + name.size();
  for (const char* begin = name.data() + 5;; ++begin) {
    int device = -1;
    const auto [next, error] = std::from_chars(begin, end, device);
    if (error != std::errc() || device < 0) return {};
    devices.push_back(device);
    if (next == end) return devices;
    if (*next != ',') return {};
    begin = next;
  }
}

}  // namespace

std::vector<std::string> available_backends() {
  return {"onednn", "reference"};
}

std::vector<std::unique_ptr<Backend>> make_backends(const std::string& name, int threads) {
  if (const std::vector<int> devices = cuda_devices(name); !devices.empty())
    return load_cuda_backends(devices);
  std::vector<std::unique_ptr<Backend>> backends;
  if (name == "onednn") backends.push_back(make_onednn_backend(threads));
  if (name == "reference") backends.push_back(reference::make_reference_backend());
  if (backends.empty()) {
    throw UsageError(
        fmt::format("backend \"{}\" is unknown; available: {}", name, fmt::join(available_backends(), ", ")));
  }
  return backends;
}

std::unique_ptr<Backend> make_backend(const std::string& name, int threads) {
  if (cuda_devices(name).size() > 1) {
    throw UsageError(fmt::format("--device {}: only train works on several devices", name));
  }
  return std::move(make_backends(name, threads).front());
}

}  // namespace vretnet
