// JSON as text. Paths and class names may hold any bytes; what is not UTF-8 in them is replaced.
#pragma once

#include <string>

namespace vretnet::tools {

template <class Json>
std::string json_text(const Json& value, int indent = -1) {
  return value.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace vretnet::tools
