// The safetensors file format: 8 bytes of header length (little-endian), a JSON header, raw little-endian
// tensors. This is the only place that knows it; what the names mean is the checkpoint's matter.
// Format: https://huggingface.co/docs/safetensors
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/file.h"

namespace vretnet::model {

enum class StoredType { F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL };

std::string_view type_name(StoredType type);  // "F64" … as in the file
std::size_t type_bytes(StoredType type);      // bytes of one element

// A tensor of an open file. `bytes` is a view of the mapped file, row-major, of exactly
// elements × type_bytes(type) bytes, and need not be aligned for its type: copy it, or read_values() it.
struct StoredTensor {
  StoredType type;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;

  std::size_t elements() const { return bytes.size() / type_bytes(type); }
};

// A file open for reading, mapped, every statement of its header checked before this object exists: a lying
// header throws UsageError naming the file, the tensor, the value found and what was expected. Refused are
// unknown keys and types, duplicate names, shapes that overflow, tensors that overlap, leave holes or do not
// fill the file.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::vector<std::string>& names() const { return names_; }  // in the order of the header

  const StoredTensor* find(std::string_view name) const;  // nullptr where there is none; lives with the file
  const StoredTensor& at(std::string_view name) const;    // throws UsageError naming file and tensor

 private:
  std::filesystem::path path_;
  MappedFile file_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::string> names_;
  std::map<std::string, StoredTensor, std::less<>> tensors_;
};

// Converts a floating-point tensor (F64, F32, F16, BF16) to float or double. Throws UsageError for the other
// types; `values` has as many elements as the tensor.
template <typename Real>
void read_values(const StoredTensor& tensor, std::span<Real> values);

struct TensorToWrite {
  std::string name;
  StoredType type;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;  // elements × type_bytes(type), little-endian, kept by the caller
};

// Writes a whole file or nothing (write_file_atomically). The same arguments give the same bytes: tensors in
// the order given without gaps, metadata in the order of its keys, the header padded with spaces so that the
// data begin at a multiple of 8. Throws RunError where the disk refuses, UsageError where a name or a
// metadata value is not UTF-8.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata,
                       const std::vector<TensorToWrite>& tensors);

}  // namespace vretnet::model
