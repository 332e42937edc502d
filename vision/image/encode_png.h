// Pictures written as PNG.
#pragma once

#include <cstddef>
#include <vector>

#include "vision/image/image.h"

namespace vretnet::vision {

// The bytes of an 8-bit PNG file, grey or RGB as the picture is. Throws RunError where libpng refuses (a side
// of 0 or too large).
std::vector<std::byte> encode_png(const ImageView& image);

}  // namespace vretnet::vision
