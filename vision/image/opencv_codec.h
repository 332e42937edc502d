// BMP, TIFF and WebP through OpenCV's imgcodecs, which live in a module of their own: linking them would cost
// every start of the program 140 libraries. For use inside vision/image.
#pragma once

#include <span>
#include <string>

#include "vision/image/decode.h"

namespace vretnet::vision {

// Decodes to RGB. `info` is the file's checked header. The result is upright in TIFF, where libtiff applies
// the orientation, else as stored: `info.orientation` is set to what is left to do. Throws ImageError where
// the file is damaged or the module is not installed.
Image decode_with_opencv(std::span<const std::byte> bytes, const std::string& name, ImageInfo& info);

}  // namespace vretnet::vision
