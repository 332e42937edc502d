#include "core/measure/observed_backend.h"

#include <algorithm>

namespace vretnet::measure {

void* ObservedBackend::allocate(std::size_t bytes) {
  void* data = inner().allocate(bytes);
  sizes_[data] = bytes;
  bytes_ += bytes;
  peak_bytes_ = std::max(peak_bytes_, bytes_);
  return data;
}

void ObservedBackend::release(void* data) {
  if (const auto size = sizes_.find(data); size != sizes_.end()) {
    bytes_ -= size->second;
    sizes_.erase(size);
  }
  inner().release(data);
}

}  // namespace vretnet::measure
