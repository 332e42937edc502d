// The one function of the module, in C so that nothing but bytes crosses the border.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

// Called once the size is known: returns memory for width · height · 3 bytes, or null to give up.
typedef std::uint8_t* (*VretnetAllocate)(void* context, int width, int height);

// Decodes BMP, TIFF or WebP to interleaved RGB; EXIF orientation is left alone but TIFF's is applied. Returns
// 0, or 1 with a reason in `message`.
typedef int VretnetOpencvDecode(const std::uint8_t* bytes, std::size_t count, VretnetAllocate allocate,
                                void* context, char* message, std::size_t message_size);

}  // extern "C"

inline constexpr char kVretnetOpencvModule[] = "vretnet_opencv_codec.so";
inline constexpr char kVretnetOpencvFunction[] = "vretnet_opencv_decode";
