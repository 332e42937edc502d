// Matrices that stay the same from product to product, in the layouts that oneDNN chose for them: copies made
// at the first product, for as long as nobody says that weights changed.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "core/backends/onednn/memory.h"
#include "core/tensor/view.h"

namespace vretnet::onednn {

class PackedWeights {
 public:
  // The copy of x, a matrix, in this layout, with `more` bytes behind it; pack(address) fills a new one.
  template <class Pack>
  float* find(const View& x, const dnnl::memory::desc& layout, Pack&& pack, std::size_t more = 0) {
    const auto [first, last] = copies_.equal_range(x.data<void>());
    for (auto copy = first; copy != last; ++copy) {
      if (copy->second.is_of(x, layout)) return copy->second.data.get();
    }
    Memory data(static_cast<float*>(allocate_memory(layout.get_size() + more)));
    pack(data.get());
    Copy copy{x.stride(0), x.stride(1), layout, std::move(data), layout.get_size() + more};
    return copies_.emplace(x.data<void>(), std::move(copy))->second.data.get();
  }

  std::size_t bytes() const {
    std::size_t sum = 0;
    for (const auto& [address, copy] : copies_) sum += copy.bytes;
    return sum;
  }
  void clear() { copies_.clear(); }
  // Of matrices in this memory only: it is given back, and may come again as another's.
  void forget(const void* begin, std::size_t bytes) {
    const void* end = static_cast<const char*>(begin) + bytes;
    std::erase_if(copies_, [&](const auto& copy) {
      return !std::less<>()(copy.first, begin) && std::less<>()(copy.first, end);
    });
  }

 private:
  struct Free {
    void operator()(float* data) const { std::free(data); }
  };
  using Memory = std::unique_ptr<float, Free>;
  struct Copy {
    std::int64_t row_stride, column_stride;  // of x: a matrix and its transpose begin at one address
    dnnl::memory::desc layout;
    Memory data;
    std::size_t bytes;
    bool is_of(const View& x, const dnnl::memory::desc& wanted) const {
      return row_stride == x.stride(0) && column_stride == x.stride(1) && layout == wanted;
    }
  };
  std::unordered_multimap<const void*, Copy> copies_;
};

}  // namespace vretnet::onednn
