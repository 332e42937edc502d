// What a user reads who made a mistake.
#pragma once

#include <functional>
#include <string>

#include "core/base/error.h"

namespace vretnet::testing {

inline std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace vretnet::testing
