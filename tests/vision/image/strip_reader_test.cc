// Reading a picture row by row: the same pixels as whole, in memory that does not grow with the height.
#include "vision/image/strip_reader.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/tall_pictures.h"
#include "tests/support/test_images.h"

namespace vretnet::vision {
namespace {

using vretnet::testing::kTestImages;

namespace fs = std::filesystem;
constexpr int kStripWidth = 300;

std::vector<std::uint8_t> made_row(int y) {
  std::vector<std::uint8_t> row(kStripWidth * 3);
  for (int i = 0; i < kStripWidth * 3; ++i) row[i] = std::uint8_t(i * (y % 7) + y / 16);
  return row;
}

class StripReaderFile : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/vretnet-strips-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write_png(int height) const {
    const fs::path path = folder_ / "tall.png";
    vretnet::testing::write_png(path, {kStripWidth, height, 3, made_row});
    return path;
  }

  fs::path write_jpeg(int height) const {
    const fs::path path = folder_ / "tall.jpg";
    vretnet::testing::write_jpeg(path, {kStripWidth, height, 3, made_row});
    return path;
  }

  fs::path folder_;
};

long peak_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

// Reads to the end; returns by how much the process grew beyond any earlier moment.
long growth_of_reading(const fs::path& path, int height) {
  const long before = peak_kib();
  StripReader reader(path);
  EXPECT_TRUE(reader.streaming());
  EXPECT_EQ(reader.height(), height);
  std::vector<std::uint8_t> rows(16 * kStripWidth * 3);
  int read = 0;
  while (const int count = reader.read_rows(16, rows.data())) read += count;
  EXPECT_EQ(read, height);
  return peak_kib() - before;
}

TEST_F(StripReaderFile, MemoryDoesNotGrowWithTheHeight) {
  // Whole they would take 34 and 51 MiB.
  const long jpeg = growth_of_reading(write_jpeg(40000), 40000);
  const long png = growth_of_reading(write_png(60000), 60000);
#ifndef __SANITIZE_ADDRESS__
  EXPECT_LT(jpeg, 4096) << "KiB";
  EXPECT_LT(png, 4096) << "KiB";
#else
  (void)jpeg, (void)png;
#endif
}

TEST_F(StripReaderFile, HeightBeyondTheLimitStreams) {
  const fs::path path = write_png(500);
  const DecodeLimits limits{.max_pixels = 1000};
  EXPECT_THROW(read_image(path, limits), ImageError);
  StripReader reader(path, limits);
  std::vector<std::uint8_t> row(kStripWidth * 3);
  for (int y = 0; y < 500; ++y) {
    ASSERT_EQ(reader.read_rows(1, row.data()), 1);
    ASSERT_EQ(row, made_row(y)) << "row " << y;
  }
  EXPECT_EQ(reader.read_rows(1, row.data()), 0);
}

TEST_F(StripReaderFile, TruncationIsAnErrorThatNamesTheFile) {
  for (const fs::path& path : {write_png(400), write_jpeg(400)}) {
    fs::resize_file(path, fs::file_size(path) - 40);
    StripReader reader(path);
    std::vector<std::uint8_t> rows(400 * kStripWidth * 3);
    try {
      reader.read_rows(400, rows.data());
      ADD_FAILURE() << path << " was read to its end";
    } catch (const ImageError& error) {
      EXPECT_EQ(error.file, path.string());
    }
  }
}

TEST(StripReader, GivesWhatWholeDecodingGives) {
  int streamed = 0, files = 0;
  for (const auto& entry : fs::directory_iterator(kTestImages)) {
    const std::string extension = entry.path().extension();
    if (extension != ".png" && extension != ".jpg" && extension != ".webp" && extension != ".tif") continue;
    for (const int channels : {1, 3}) {
      const Image whole = read_image(entry.path(), {}, channels);
      for (const int rows : {1, 5, 1000}) {
        SCOPED_TRACE(entry.path().string());
        StripReader reader(entry.path(), {}, channels);
        ASSERT_EQ(reader.width(), whole.width);
        ASSERT_EQ(reader.height(), whole.height);
        Image strips = make_image(whole.width, whole.height, channels);
        for (int y = 0; reader.rows_left() > 0;) y += reader.read_rows(rows, strips.row(y));
        EXPECT_EQ(strips.pixels, whole.pixels);
        streamed += reader.streaming();
        ++files;
      }
    }
  }
  EXPECT_GT(streamed, 0);
  EXPECT_GT(files, streamed);
}

TEST(StripReader, SaysWhyAPictureIsNotStreamed) {
  const auto reason = [](const std::string& file) -> std::string {
    try {
      StripReader reader(kTestImages / file, {.max_pixels = 100});
    } catch (const ImageError& error) {
      return error.reason;
    }
    return "read";
  };
  EXPECT_EQ(
      reason("turned_5.jpg"),
      "40 x 66 pixels are more than the limit of 100 (not read row by row, because it is turned by EXIF "
      "orientation 5)");
  EXPECT_NE(reason("lossless.webp").find("because it is WebP"), std::string::npos);
  EXPECT_EQ(reason("rgba.png"), "read");
  EXPECT_EQ(reason("missing.png"), "cannot be read: No such file or directory");
}

}  // namespace
}  // namespace vretnet::vision
