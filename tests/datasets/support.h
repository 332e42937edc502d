// Trees of pictures and IDX files for the tests, in folders that go when the test ends.
#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "datasets/dataset.h"
#include "vision/image/encode_png.h"
#include "vision/image/image.h"

namespace vretnet::datasets {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = testing::TempDir() + "vretnet-datasets-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::filesystem::path& below) const { return path_ / below; }

 private:
  std::filesystem::path path_;
};

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

inline vision::Image noise_image(int width, int height, int channels, std::uint64_t seed) {
  vision::Image image = vision::make_image(width, height, channels);
  Random random(seed);
  for (auto& value : image.pixels) value = std::uint8_t(random.below(256));
  return image;
}

inline void write_png(const std::filesystem::path& path, const vision::Image& image) {
  const auto bytes = vision::encode_png(image);
  write_text(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

// A picture that differs from all others of the test.
inline void write_unique_png(const std::filesystem::path& path, int width = 8, int height = 8) {
  static std::atomic<std::uint64_t> next{1};
  write_png(path, noise_image(width, height, 3, next++));
}

// `images` pictures of odd sizes in each of `classes` folders: FOLDER/class0/image_000.png …
inline void write_tree(const std::filesystem::path& folder, int classes, int images) {
  for (int c = 0; c < classes; ++c) {
    for (int i = 0; i < images; ++i) {
      char name[32];
      std::snprintf(name, sizeof name, "image_%03d.png", i);
      write_unique_png(folder / ("class" + std::to_string(c)) / name, 9 + i % 5, 8 + i % 3);
    }
  }
}

// An IDX file's bytes: magic, sizes, contents.
inline std::string idx_bytes(std::uint32_t magic, const std::vector<std::uint32_t>& sizes,
                             const std::string& contents) {
  std::string bytes;
  const auto append = [&](std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes += char(value >> shift & 255);
  };
  append(magic);
  for (const std::uint32_t size : sizes) append(size);
  return bytes + contents;
}

inline std::string gzipped(const std::string& bytes) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);  // + 16: gzip's frame
  std::string out(deflateBound(&stream, bytes.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = uInt(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = uInt(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// The message of the exception of type Exception that `body` throws; a failure where it throws none.
template <class Exception>
std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Exception& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another exception: " << error.what();
    return "";
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

}  // namespace vretnet::datasets
