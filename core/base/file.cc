#include "core/base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "core/base/error.h"

namespace vretnet {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* what, int error) {
  throw RunError(fmt::format("{}: {}: {}", path.string(), what, std::strerror(error)));
}

// A descriptor that closes itself.
struct OpenFile {
  std::filesystem::path path;
  int descriptor = -1;
  ~OpenFile() {
    if (descriptor >= 0) ::close(descriptor);
  }
};
// One that, until told to keep it, removes its file as well.
struct Temporary : OpenFile {
  bool keep = false;
  ~Temporary() {
    if (!keep) ::unlink(path.c_str());
  }
};

void write_all(const OpenFile& file, const void* bytes, std::size_t count) {
  const char* next = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t written = ::write(file.descriptor, next, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(file.path, "cannot write", errno);
    next += written;
    count -= static_cast<std::size_t>(written);
  }
}

}  // namespace

void write_file_atomically(const std::filesystem::path& path,
                           const std::function<void(const Append&)>& write) {
  Temporary file;
  file.path = path.string() + ".partial";
  file.descriptor = ::open(file.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file.descriptor < 0) fail(file.path, "cannot create", errno);

  std::vector<char> pending;  // many small appends become few large writes
  constexpr std::size_t kBlock = 1 << 20;
  pending.reserve(kBlock);
  const auto flush = [&] {
    write_all(file, pending.data(), pending.size());
    pending.clear();
  };
  write([&](const void* bytes, std::size_t count) {
    if (pending.size() + count > kBlock) flush();
    if (count >= kBlock) return write_all(file, bytes, count);
    const char* first = static_cast<const char*>(bytes);
    pending.insert(pending.end(), first, first + count);
  });
  flush();

  if (::fsync(file.descriptor) != 0) fail(file.path, "cannot sync", errno);
  const int descriptor = std::exchange(file.descriptor, -1);
  if (::close(descriptor) != 0) fail(file.path, "cannot close", errno);
  if (::rename(file.path.c_str(), path.c_str()) != 0) fail(path, "cannot rename onto", errno);
  file.keep = true;

  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  const int folder_descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_descriptor >= 0) {
    ::fsync(folder_descriptor);
    ::close(folder_descriptor);
  }
}

void append_to_file(const std::filesystem::path& path, std::string_view text) {
  OpenFile file{path, ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)};
  if (file.descriptor < 0) fail(path, "cannot open", errno);
  write_all(file, text.data(), text.size());
  if (::fsync(file.descriptor) != 0) fail(path, "cannot write", errno);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  write_file_atomically(path, [&](const Append& append) { append(text.data(), text.size()); });
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    throw UsageError(fmt::format("{}: cannot open: {}", path.string(), std::strerror(errno)));
  struct stat status {};
  const bool regular = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  if (!regular) {
    ::close(descriptor);
    throw UsageError(fmt::format("{}: not a regular file", path.string()));
  }
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ > 0) {
    void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    const int error = errno;
    ::close(descriptor);
    if (mapped == MAP_FAILED) {
      throw UsageError(fmt::format("{}: cannot map: {}", path.string(), std::strerror(error)));
    }
    data_ = mapped;
  } else {
    ::close(descriptor);
  }
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (size_ > 0) ::munmap(const_cast<void*>(data_), size_);
}

}  // namespace vretnet
