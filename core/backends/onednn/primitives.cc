#include "core/backends/onednn/primitives.h"

namespace vretnet::onednn {

void Primitives::execute(Primitive& primitive, std::initializer_list<std::pair<int, void*>> addresses) {
  for (const auto& [argument, address] : addresses) {
    const auto found = primitive.arguments.find(argument);
    if (found != primitive.arguments.end()) found->second.set_data_handle(address);
  }
  primitive.primitive.execute(stream_, primitive.arguments);
  stream_.wait();
}

}  // namespace vretnet::onednn
