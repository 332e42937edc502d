// Compiled oneDNN primitives, kept by what they compute. Finding one allocates nothing; oneDNN's execute
// makes a few small allocations of its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <utility>

#include "core/backends/onednn/packed_weights.h"
#include "core/base/ensure.h"
#include "core/tensor/view.h"

namespace vretnet::onednn {

// The numbers that decide a primitive: its kind, then extents, strides and options in an order of the kind's
// own.
class PrimitiveKey {
 public:
  enum Kind : std::int64_t {
    kMatmul = 1,
    kMatmulWeights,
    kMatmulPanel,
    kMatmulPanelWeights,
    kQuantizedPanel,
    kConvolution,
    kConvolutionWeights,
    kConvolutionInputGradient,
    kConvolutionInputGradientWeights,
    kConvolutionWeightGradient,
    kConvolutionWeightGradientWeights,
  };

  explicit PrimitiveKey(Kind kind) { add(kind); }
  void add(std::int64_t number) {
    ensure(count_ < static_cast<int>(numbers_.size()), "a primitive of more than {} numbers", count_);
    numbers_[count_++] = number;
  }
  PrimitiveKey with_kind(Kind kind) const {
    PrimitiveKey key = *this;
    key.numbers_[0] = kind;
    return key;
  }
  bool operator==(const PrimitiveKey&) const = default;

  struct Hash {
    std::size_t operator()(const PrimitiveKey& key) const {
      std::uint64_t hash = 0x9E3779B97F4A7C15u;
      for (int i = 0; i < key.count_; ++i) {
        hash = (hash ^ static_cast<std::uint64_t>(key.numbers_[i])) * 0xFF51AFD7ED558CCDu;
        hash ^= hash >> 32;
      }
      return hash;
    }
  };

 private:
  std::array<std::int64_t, 24> numbers_{};
  int count_ = 0;
};

// A primitive and the memory objects of its arguments, which are given new addresses for every execution.
struct Primitive {
  dnnl::primitive primitive;
  std::unordered_map<int, dnnl::memory> arguments;
  std::size_t scratchpad_bytes = 0;
  dnnl::memory::desc weights;  // the layout that oneDNN chose; empty where it had no choice
};

class Primitives {
 public:
  // The primitive of this key; make() → Primitive at the first call.
  template <class Make>
  Primitive& find(const PrimitiveKey& key, Make&& make) {
    const auto found = primitives_.find(key);
    if (found != primitives_.end()) return found->second;
    return primitives_.emplace(key, make()).first->second;
  }

  // The primitive of this key, which exists. Several threads may ask at once.
  Primitive& get(const PrimitiveKey& key) { return primitives_.at(key); }

  // A primitive of this description whose arguments have the given layouts, and a scratchpad that the caller
  // gives.
  template <class Made, class Description>
  Primitive make(const Description& description,
                 std::initializer_list<std::pair<int, dnnl::memory::desc>> arguments) const {
    Primitive made{.primitive = Made(description)};
    for (const auto& [argument, layout] : arguments) add_argument(made, argument, layout);
    add_argument(made, DNNL_ARG_SCRATCHPAD, description.scratchpad_desc());
    made.scratchpad_bytes = description.scratchpad_desc().get_size();
    return made;
  }
  void add_argument(Primitive& primitive, int argument, const dnnl::memory::desc& layout) const {
    primitive.arguments.emplace(argument, dnnl::memory(layout, engine_, nullptr));
  }

  // The reorder between the layouts from() and to(), kept under a key of the caller's. Functions, because
  // making a layout takes memory.
  template <class From, class To>
  Primitive& reorder(const PrimitiveKey& key, const From& from, const To& to) {
    return find(key, [&] { return make_reorder(from(), to()); });
  }

  // Runs it on these addresses, one an argument (the scratchpad's may be null when it needs none), and waits.
  void execute(Primitive& primitive, std::initializer_list<std::pair<int, void*>> addresses);

  const dnnl::engine& engine() const { return engine_; }
  PackedWeights& packed_weights() { return packed_weights_; }

 private:
  Primitive make_reorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to) const;

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::unordered_map<PrimitiveKey, Primitive, PrimitiveKey::Hash> primitives_;
  PackedWeights packed_weights_;
};

// Where an argument lies; null for one that is not given.
inline float* address(const View& view) {
  return view ? view.data<float>() : nullptr;
}

// Attributes of all our primitives: scratchpads are workspace of the op.
inline dnnl::primitive_attr with_user_scratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

}  // namespace vretnet::onednn
