// Pictures written as JPEG.
#pragma once

#include <cstddef>
#include <vector>

#include "vision/image/image.h"

namespace vretnet::vision {

// The bytes of a baseline JPEG file of `quality` 1 … 100, grey or RGB (chroma halved, as libjpeg's and
// Pillow's default) as the picture is.
std::vector<std::byte> encode_jpeg(const ImageView& image, int quality);

}  // namespace vretnet::vision
