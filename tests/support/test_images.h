// The small pictures of tests/data.
#pragma once

#include <filesystem>

namespace vretnet::testing {

inline const std::filesystem::path kTestImages =
    std::filesystem::path(VRETNET_SOURCE_DIR) / "tests" / "data" / "images";

}  // namespace vretnet::testing
