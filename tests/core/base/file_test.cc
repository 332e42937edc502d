#include "core/base/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "core/base/error.h"

namespace vretnet {
namespace {

namespace fs = std::filesystem;

class Files : public ::testing::Test {
 protected:
  Files() {
    std::string pattern = (fs::temp_directory_path() / "vretnet_file_test_XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~Files() override { fs::remove_all(folder_); }

  static std::string read(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  static std::string text_of(const std::span<const std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  fs::path folder_;
};

TEST_F(Files, WritesAndReplaces) {
  const fs::path path = folder_ / "a.txt";
  write_file_atomically(path, "first");
  EXPECT_EQ(read(path), "first");
  write_file_atomically(path, "second");
  EXPECT_EQ(read(path), "second");
  EXPECT_EQ(files(), 1u);
}

TEST_F(Files, JoinsAppendsOfAllSizes) {
  const fs::path path = folder_ / "b.bin";
  std::string expected;
  write_file_atomically(path, [&](const Append& append) {
    for (std::size_t size : {0u, 1u, 1000u, (1u << 20) - 5, 1u << 20, 3u << 20, 7u}) {
      const std::string part(size, static_cast<char>('a' + size % 7));
      append(part.data(), part.size());
      expected += part;
    }
  });
  EXPECT_EQ(read(path), expected);
  EXPECT_EQ(text_of(MappedFile(path).bytes()), expected);
}

TEST_F(Files, AnExceptionOfTheWriterLeavesTheOldFile) {
  const fs::path path = folder_ / "c.txt";
  write_file_atomically(path, "old");
  EXPECT_THROW(write_file_atomically(path,
                                     [](const Append& append) {
                                       append("half", 4);
                                       throw DataError("broken off");
                                     }),
               DataError);
  EXPECT_EQ(read(path), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(Files, AMissingFolderIsNamed) {
  try {
    write_file_atomically(folder_ / "nowhere" / "d.txt", "x");
    FAIL() << "wrote into a folder that is not there";
  } catch (const RunError& error) {
    EXPECT_NE(std::string(error.what()).find("nowhere/d.txt"), std::string::npos) << error.what();
  }
}

// A disk that is full after 64 KiB, in a child process: the old file stays, nothing half-written stays beside
// it.
TEST_F(Files, AFullDiskLeavesTheOldFile) {
  const fs::path path = folder_ / "e.bin";
  write_file_atomically(path, "old");
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const rlimit limit{64 << 10, 64 << 10};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    std::signal(SIGXFSZ, SIG_IGN);  // so that write fails with EFBIG, as it would with ENOSPC
    int verdict = 1;
    try {
      write_file_atomically(path, std::string(1 << 20, 'x'));
    } catch (const RunError& error) {
      verdict = std::string(error.what()).find("e.bin") != std::string::npos ? 0 : 2;
    }
    ::_exit(verdict);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "1: nothing was thrown, 2: the message does not name the file";
  EXPECT_EQ(read(path), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(Files, MapsAnEmptyFile) {
  write_file_atomically(folder_ / "empty", "");
  EXPECT_TRUE(MappedFile(folder_ / "empty").bytes().empty());
}

TEST_F(Files, WhatCannotBeMappedIsNamed) {
  for (const fs::path& path : {folder_ / "missing", folder_}) {
    try {
      const MappedFile file(path);
      FAIL() << "mapped " << path;
    } catch (const UsageError& error) {
      EXPECT_EQ(error.exit_code(), 2);
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace vretnet
