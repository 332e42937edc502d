// The first directory of TIFF-structured bytes: of TIFF files and of EXIF blocks. For use inside
// vision/image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>

namespace vretnet::vision {

// Numbers of tags. Entries that are damaged, lie outside of the bytes or hold no whole numbers are left out.
struct TiffDirectory {
  std::map<std::uint16_t, std::uint32_t> first_values;  // the first value of each tag

  std::optional<std::uint32_t> value(std::uint16_t tag) const;
};

// Nothing where the bytes do not start with a TIFF header or its directory lies outside of them.
std::optional<TiffDirectory> parse_tiff_directory(std::span<const std::byte> bytes);

inline constexpr std::uint16_t kOrientationTag = 0x0112;

// The orientation in a block of EXIF, with or without its leading "Exif\0\0"; 1 where there is none of 1 … 8.
int exif_orientation(std::span<const std::byte> block);

}  // namespace vretnet::vision
