#include "core/backends/cuda_module.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <string>

#include "core/base/error.h"

namespace vretnet {
namespace {

constexpr const char* kModule = "libvretnet_cuda.so";
constexpr const char* kEntry = "vretnet_make_cuda_backends";

// Stays loaded until the program ends: backends live as long as they like.
void* open_module() {
  std::error_code none;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", none).parent_path();
  for (const std::filesystem::path& path : {program / kModule, program / ".." / "lib" / kModule}) {
    if (!std::filesystem::exists(path, none)) continue;
    if (void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return module;
    throw UsageError(fmt::format("--device cuda: {}", dlerror()));  // it is there, a CUDA library is not
  }
  if (void* module = dlopen(kModule, RTLD_NOW | RTLD_LOCAL)) return module;
  throw UsageError(
      fmt::format("--device cuda: this build has no CUDA backend ({} is missing): build where the CUDA "
                  "toolkit and cuDNN are installed",
                  kModule));
}

}  // namespace

std::vector<std::unique_ptr<Backend>> load_cuda_backends(const std::vector<int>& devices) {
  static void* const module = open_module();
  using Make = void (*)(const int*, int, Backend**);
  const auto make = reinterpret_cast<Make>(dlsym(module, kEntry));
  if (make == nullptr) throw UsageError(fmt::format("--device cuda: {} is of another build", kModule));
  std::vector<Backend*> made(devices.size());
  make(devices.data(), static_cast<int>(devices.size()), made.data());
  std::vector<std::unique_ptr<Backend>> backends;
  for (Backend* backend : made) backends.emplace_back(backend);
  return backends;
}

}  // namespace vretnet
