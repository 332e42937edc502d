// Files that are never half-written, and files that are read without copying.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>

namespace vretnet {

// Writes one file: `write` is called with a function that appends bytes. The bytes go to a temporary file
// beside `path`, which is synced and renamed over `path`; then the folder is synced. After a crash at any
// moment `path` holds either the old bytes or the new ones. Throws RunError naming the file and the reason
// (full disk, no permission); the temporary file is removed then.
using Append = std::function<void(const void* bytes, std::size_t count)>;
void write_file_atomically(const std::filesystem::path& path,
                           const std::function<void(const Append&)>& write);
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

// Appends to a file, which is made where there is none, and syncs it. Throws RunError naming the file and the
// reason.
void append_to_file(const std::filesystem::path& path, std::string_view text);

// A file mapped read-only into memory; the bytes live as long as this object. Throws UsageError naming the
// file when it cannot be opened.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }

 private:
  const void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace vretnet
