#include "core/backends/onednn/primitives.h"

namespace vretnet::onednn {

Primitive& Primitives::reorder(const PrimitiveKey& key, const dnnl::memory::desc& from,
                               const dnnl::memory::desc& to) {
  return find(key, [&] {
    const dnnl::reorder::primitive_desc description(engine_, from, engine_, to, with_user_scratchpad());
    return make<dnnl::reorder>(description, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
  });
}

void Primitives::execute(Primitive& primitive, std::initializer_list<std::pair<int, void*>> addresses) {
  for (const auto& [argument, address] : addresses) {
    const auto found = primitive.arguments.find(argument);
    if (found != primitive.arguments.end()) found->second.set_data_handle(address);
  }
  primitive.primitive.execute(stream_, primitive.arguments);
  stream_.wait();
}

}  // namespace vretnet::onednn
