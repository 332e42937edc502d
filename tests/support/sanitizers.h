// Sanitizers slow the compiler's code down, not oneDNN's, and keep freed memory: rates and peaks are then not
// the product's.
#pragma once

namespace vretnet::testing {

#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace vretnet::testing
