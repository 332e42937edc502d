// What a file is, by its first bytes. For use inside vision/image.
#pragma once

#include <span>
#include <string>

#include "vision/image/decode.h"

namespace vretnet::vision {

// Throws ImageError: "not an image: unknown signature 'hello'", "not an image: the file is empty", or
// "GIF is not supported: …" for a format that is known and left out.
ImageFormat recognize(std::span<const std::byte> bytes, const std::string& name);

}  // namespace vretnet::vision
