// Changes of every value by a table, one a channel: equal to Pillow's ImageOps (13.0) and, for solarize_add,
// to timm's.
#pragma once

#include "vision/image/image.h"

namespace vretnet::vision {

// Each channel stretched so that its darkest value becomes 0 and its lightest 255.
void auto_contrast(Image& image);

// Each channel mapped so that all values are about as frequent.
void equalize(Image& image);

// value → 255 − value
void invert(Image& image);

// Keeps the `bits` highest bits, 0 … 8; none is black (Pillow refuses 0, timm's recipes ask for it).
void posterize(Image& image, int bits);

// Values from `threshold` on are inverted.
void solarize(Image& image, int threshold);

// Values below 128 are raised by `addend`, to 255 at most.
void solarize_add(Image& image, int addend);

}  // namespace vretnet::vision
