#include "core/backends/onednn/memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

#include "core/base/error.h"

namespace vretnet::onednn {
namespace {

constexpr std::size_t kAlignment = 64;
// From this size on memory is asked for in large pages: products walk through megabytes, and small pages cost
// them a miss of the address cache a row.
constexpr std::size_t kLargePage = std::size_t{2} << 20;

}  // namespace

void* allocate_memory(std::size_t bytes) {
  const std::size_t alignment = bytes >= kLargePage ? kLargePage : kAlignment;
  const std::size_t rounded = std::max<std::size_t>((bytes + kAlignment - 1) / kAlignment, 1) * kAlignment;
  void* data = nullptr;
  if (posix_memalign(&data, alignment, rounded) != 0) {
    throw RunError(
        fmt::format("no memory: {:.1f} MiB were asked for", static_cast<double>(bytes) / (1 << 20)));
  }
  if (alignment == kLargePage) madvise(data, rounded, MADV_HUGEPAGE);  // advice: to refuse it is no error
  return data;
}

}  // namespace vretnet::onednn
