// Matrices that stay the same from product to product, in the layouts that oneDNN chose for them: copies made
// at the first product, for as long as nobody says that weights changed.
#pragma once

#include <cstdlib>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "core/backends/onednn/memory.h"
#include "core/tensor/view.h"

namespace vretnet::onednn {

class PackedWeights {
 public:
  // The copy of x in this layout, with `more` bytes behind it; pack(address) fills a new one. The layout of x
  // itself is the same in all calls between two clear().
  template <class Pack>
  float* find(const View& x, const dnnl::memory::desc& layout, Pack&& pack, std::size_t more = 0) {
    const auto [first, last] = copies_.equal_range(x.data<void>());
    for (auto copy = first; copy != last; ++copy) {
      if (copy->second.layout == layout) return copy->second.data.get();
    }
    Memory data(static_cast<float*>(allocate_memory(layout.get_size() + more)));
    pack(data.get());
    return copies_.emplace(x.data<void>(), Copy{layout, std::move(data)})->second.data.get();
  }

  void clear() { copies_.clear(); }

 private:
  struct Free {
    void operator()(float* data) const { std::free(data); }
  };
  using Memory = std::unique_ptr<float, Free>;
  struct Copy {
    dnnl::memory::desc layout;
    Memory data;
  };
  std::unordered_multimap<const void*, Copy> copies_;
};

}  // namespace vretnet::onednn
