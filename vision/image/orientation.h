// Turning pictures upright. For use inside vision/image.
#pragma once

#include "vision/image/image.h"
#include "vision/image/resize.h"

namespace vretnet::vision {

// The picture as EXIF `orientation` 1 … 8 says it is to be seen (5 … 8 exchange width and height).
Image apply_orientation(Image image, int orientation);

// Where `box` of the upright picture lies in the stored one, whose size is `stored`.
Box stored_box(const Box& box, const Size& stored, int orientation);
// The other way: where `box` of the stored picture of size `stored` lies in the upright one.
Box upright_box(const Box& box, const Size& stored, int orientation);

}  // namespace vretnet::vision
