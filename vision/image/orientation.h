// Turning pictures upright. For use inside vision/image.
#pragma once

#include "vision/image/image.h"

namespace vretnet::vision {

// The picture as EXIF `orientation` 1 … 8 says it is to be seen (5 … 8 exchange width and height).
Image apply_orientation(Image image, int orientation);

}  // namespace vretnet::vision
