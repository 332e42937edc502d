// The headers of the formats that OpenCV decodes, read and checked by us first: OpenCV takes memory on the
// word of a header. For use inside vision/image.
#pragma once

#include <span>
#include <string>

#include "vision/image/decode.h"

namespace vretnet::vision {

// `bytes` have the format's signature. Throw ImageError where the header is damaged, says that the file is
// longer than it is, or asks for a variant that is not supported.
ImageInfo read_bmp_header(std::span<const std::byte> bytes, const std::string& name);
ImageInfo read_tiff_header(std::span<const std::byte> bytes, const std::string& name);
ImageInfo read_webp_header(std::span<const std::byte> bytes, const std::string& name);

}  // namespace vretnet::vision
