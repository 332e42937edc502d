#include "core/backends/onednn/primitives.h"

#include <array>

#include "core/base/ensure.h"

namespace vretnet::onednn {
namespace {
constexpr std::size_t kMostArguments = 16;
}

Primitive Primitives::make_reorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to) const {
  const dnnl::reorder::primitive_desc description(engine_, from, engine_, to, with_user_scratchpad());
  return make<dnnl::reorder>(description, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

void Primitives::execute(Primitive& primitive, std::initializer_list<std::pair<int, void*>> addresses) {
  for (const auto& [argument, address] : addresses) {
    const auto found = primitive.arguments.find(argument);
    if (found != primitive.arguments.end()) found->second.set_data_handle(address);
  }
  // As dnnl.hpp's execute(), which takes memory for this list each time: a step shall take none.
  std::array<dnnl_exec_arg_t, kMostArguments> list;
  std::size_t count = 0;
  for (const auto& [argument, memory] : primitive.arguments) {
    ensure(count < list.size(), "a primitive of {} arguments", primitive.arguments.size());
    list[count++] = {argument, memory.get()};
  }
  dnnl::error::wrap_c_api(
      dnnl_primitive_execute(primitive.primitive.get(), stream_.get(), static_cast<int>(count), list.data()),
      "could not execute a primitive");
  stream_.wait();
}

}  // namespace vretnet::onednn
