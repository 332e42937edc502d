#include "vision/image/tiff_directory.h"

#include <cstring>

namespace vretnet::vision {
namespace {

// Unsigned numbers at byte offsets, in the byte order that the header names; nothing beyond the end.
class Numbers {
 public:
  Numbers(std::span<const std::byte> bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}

  std::optional<std::uint32_t> at(std::uint64_t offset, int size) const {
    if (offset + size > bytes_.size()) return std::nullopt;
    std::uint32_t value = 0;
    for (int i = 0; i < size; ++i) {
      const int shift = 8 * (big_endian_ ? size - 1 - i : i);
      value |= std::uint32_t(bytes_[offset + i]) << shift;
    }
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  bool big_endian_;
};

int bytes_of_type(std::uint32_t type) {
  switch (type) {
    case 1:
      return 1;  // BYTE
    case 3:
      return 2;  // SHORT
    case 4:
      return 4;  // LONG
    default:
      return 0;
  }
}

}  // namespace

std::optional<std::uint32_t> TiffDirectory::value(std::uint16_t tag) const {
  const auto found = first_values.find(tag);
  if (found == first_values.end()) return std::nullopt;
  return found->second;
}

std::optional<TiffDirectory> parse_tiff_directory(std::span<const std::byte> bytes) {
  if (bytes.size() < 8) return std::nullopt;
  const bool big_endian = std::memcmp(bytes.data(), "MM\0*", 4) == 0;
  if (!big_endian && std::memcmp(bytes.data(), "II*\0", 4) != 0) return std::nullopt;
  const Numbers numbers(bytes, big_endian);
  const std::uint64_t start = *numbers.at(4, 4);
  const auto entries = numbers.at(start, 2);
  if (!entries) return std::nullopt;

  TiffDirectory directory;
  for (std::uint32_t i = 0; i < *entries; ++i) {
    const std::uint64_t entry = start + 2 + 12 * std::uint64_t(i);
    const auto tag = numbers.at(entry, 2), type = numbers.at(entry + 2, 2), count = numbers.at(entry + 4, 4);
    if (!tag || !type || !count) break;
    const int size = bytes_of_type(*type);
    if (size == 0 || *count == 0) continue;
    // Up to four bytes of values stand in the entry itself; else it holds where they are.
    const bool inside = std::uint64_t(size) * *count <= 4;
    const auto offset = inside ? std::optional(std::uint32_t(0)) : numbers.at(entry + 8, 4);
    if (!offset) break;
    const auto value = numbers.at(inside ? entry + 8 : *offset, size);
    if (value) directory.first_values.emplace(std::uint16_t(*tag), *value);
  }
  return directory;
}

int exif_orientation(std::span<const std::byte> block) {
  if (block.size() >= 6 && std::memcmp(block.data(), "Exif\0\0", 6) == 0) block = block.subspan(6);
  const auto directory = parse_tiff_directory(block);
  const auto orientation = directory ? directory->value(kOrientationTag) : std::nullopt;
  return orientation && *orientation >= 1 && *orientation <= 8 ? int(*orientation) : 1;
}

}  // namespace vretnet::vision
