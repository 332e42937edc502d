// Decoding: orientation, limits, notes and the words of refusals.
#include "vision/image/decode.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "tests/support/test_images.h"
#include "vision/image/orientation.h"

namespace vretnet::vision {
namespace {

using vretnet::testing::kTestImages;

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string reason_of_refusal(std::span<const std::byte> bytes, const DecodeLimits& limits = {}) {
  try {
    decode_image(bytes, "some/file", limits);
  } catch (const ImageError& error) {
    EXPECT_EQ(error.what(), "some/file: " + error.reason);
    EXPECT_EQ(error.file, "some/file");
    EXPECT_EQ(error.exit_code(), 3);
    return error.reason;
  }
  return "decoded";
}

std::string reason_of_refusal(const fs::path& path, const DecodeLimits& limits = {}) {
  try {
    read_image(path, limits);
  } catch (const ImageError& error) {
    return error.reason;
  }
  return "decoded";
}

ImageInfo probe(const std::string& file) {
  return probe_image(read_image_bytes(kTestImages / file), file);
}

std::vector<std::string> conversions(const std::string& file, int channels = 3) {
  DecodeNotes notes;
  read_image(kTestImages / file, {}, channels, &notes);
  return notes.conversions;
}

TEST(Decode, RefusalsSayWhatWasFound) {
  EXPECT_EQ(reason_of_refusal(bytes_of("hello\nworld")), "not an image: unknown signature 'hello'");
  EXPECT_EQ(reason_of_refusal(bytes_of("")), "not an image: the file is empty");
  EXPECT_EQ(reason_of_refusal(bytes_of(std::string("\x7f"
                                                   "ELF\0\1",
                                                   6))),
            "not an image: unknown signature '\\x7fELF\\x00\\x01'");
  EXPECT_EQ(reason_of_refusal(bytes_of("GIF89a........")),
            "GIF is not supported: convert it to PNG, JPEG, WebP, TIFF or BMP");
  EXPECT_EQ(reason_of_refusal(bytes_of("\xff\xd8\xff")), "damaged JPEG: Premature end of JPEG file");
  EXPECT_EQ(reason_of_refusal(bytes_of("\x89PNG\r\n\x1a\n")), "damaged PNG: the file ends early");
}

TEST(Decode, FilesThatCannotBeReadAreNamed) {
  EXPECT_EQ(reason_of_refusal(kTestImages / "missing.png"), "cannot be read: No such file or directory");
  EXPECT_EQ(reason_of_refusal(kTestImages), "is a folder, not an image");
  EXPECT_EQ(reason_of_refusal("/dev/null"), "is not a regular file");
  EXPECT_EQ(reason_of_refusal(kTestImages / "tiny.png", {.max_file_bytes = 10}),
            "86 bytes are more than the limit of 10");
}

TEST(Decode, EveryTruncationIsRefused) {
  for (const char* file : {"rgb_420.jpg", "progressive_444_turned_6.jpg", "interlaced_turned_8.png",
                           "palette_transparent.png", "lossless.webp", "rgb.bmp"}) {
    const auto bytes = read_image_bytes(kTestImages / file);
    for (std::size_t count = 0; count < bytes.size(); count += 1 + bytes.size() / 97) {
      EXPECT_NE(reason_of_refusal(std::span(bytes).first(count)), "decoded") << file << " cut to " << count;
    }
  }
}

// Any byte may be wrong: decoding or an ImageError, nothing else (this is for the sanitizers).
TEST(Decode, FlippedBytesDoNoHarm) {
  int refused = 0;
  for (const char* file : {"rgb_420.jpg", "cmyk.jpg", "turned_5.jpg", "palette_transparent.png", "tiny.png",
                           "rgb.bmp", "lzw.tif", "lossless.webp"}) {
    const auto original = read_image_bytes(kTestImages / file);
    for (std::size_t i = 0; i < std::min<std::size_t>(original.size(), 400); ++i) {
      auto bytes = original;
      bytes[i] ^= std::byte(0xFF);
      refused += reason_of_refusal(bytes, {.max_pixels = 1 << 20}) != "decoded";
    }
  }
  EXPECT_GT(refused, 400);
}

TEST(Decode, LimitsHoldBeforeDecoding) {
  const DecodeLimits limits{.max_pixels = 83 * 61 - 1};
  EXPECT_EQ(reason_of_refusal(kTestImages / "rgb_420.jpg", limits),
            "83 x 61 pixels are more than the limit of 5062");
  EXPECT_EQ(reason_of_refusal(kTestImages / "rgb_420.jpg", {.max_pixels = 83 * 61}), "decoded");
  for (const char* file : {"rgba.png", "lzw.tif", "rgb.bmp", "lossless.webp"}) {
    EXPECT_NE(reason_of_refusal(kTestImages / file, {.max_pixels = 1000}).find("limit of 1000"),
              std::string::npos)
        << file;
  }
  EXPECT_NE(reason_of_refusal(kTestImages / "progressive_444_turned_6.jpg", {.max_decoder_bytes = 1000})
                .find("progressive JPEG of 71 x 45 pixels needs"),
            std::string::npos);
}

// 86 bytes that claim 12000 x 12000 pixels, which is within the limit of pixels.
TEST(Decode, ClaimsBeyondTheFileAreRefused) {
  auto bytes = read_image_bytes(kTestImages / "tiny.png");
  auto* header = reinterpret_cast<unsigned char*>(bytes.data()) + 12;  // "IHDR", width, height, …, checksum
  const auto write = [&](int offset, unsigned long value) {
    for (int i = 0; i < 4; ++i) header[offset + i] = static_cast<unsigned char>(value >> (24 - 8 * i));
  };
  write(4, 12000);
  write(8, 12000);
  write(17, crc32(0, header, 17));
  EXPECT_EQ(reason_of_refusal(bytes),
            "damaged PNG: claims 12000 x 12000 pixels, more than its 86 bytes can hold");
}

TEST(Decode, ProbeReadsTheHeader) {
  const ImageInfo turned = probe("progressive_444_turned_6.jpg");
  EXPECT_EQ(turned.format, ImageFormat::Jpeg);
  EXPECT_EQ(turned.width, 71);
  EXPECT_EQ(turned.height, 45);
  EXPECT_EQ(upright_width(turned), 45);
  EXPECT_EQ(upright_height(turned), 71);
  EXPECT_EQ(turned.orientation, 6);
  EXPECT_FALSE(turned.sequential);
  EXPECT_TRUE(probe("rgb_420.jpg").sequential);
  EXPECT_TRUE(probe("cmyk.jpg").cmyk);
  EXPECT_EQ(probe("grey.jpg").channels, 1);
  EXPECT_EQ(probe("rgb16.png").bit_depth, 16);
  EXPECT_EQ(probe("one_bit.png").bit_depth, 1);
  EXPECT_TRUE(probe("palette_transparent.png").palette);
  EXPECT_EQ(probe("grey_alpha.png").channels, 2);
  EXPECT_TRUE(probe("rgba.png").transparency);
  EXPECT_EQ(probe("interlaced_turned_8.png").orientation, 8);
  EXPECT_FALSE(probe("interlaced_turned_8.png").sequential);
  EXPECT_EQ(probe("lossless.webp").height, 52);
  EXPECT_EQ(probe("lzw.tif").width, 41);
  EXPECT_EQ(probe("rgb.bmp").width, 37);
}

TEST(Decode, ConversionsAreSaid) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(conversions("rgb_420.jpg"), Words{});
  EXPECT_EQ(conversions("cmyk.jpg"), Words{"CMYK"});
  EXPECT_EQ(conversions("grey.jpg"), Words{"grey"});
  EXPECT_EQ(conversions("grey.jpg", 1), Words{});
  EXPECT_EQ(conversions("rgb16.png"), Words{"16-bit"});
  EXPECT_EQ(conversions("rgba.png"), Words{"transparency dropped"});
  EXPECT_EQ(conversions("palette_transparent.png"), (Words{"palette", "transparency dropped"}));
  EXPECT_EQ(conversions("turned_5.jpg"), Words{"orientation 5"});
}

TEST(Decode, GreyIsPillowsLuma) {
  const Image colour = read_image(kTestImages / "rgb.bmp"), grey = read_image(kTestImages / "rgb.bmp", {}, 1);
  ASSERT_EQ(grey.channels, 1);
  for (std::size_t i = 0; i < grey.pixels.size(); ++i) {
    const std::uint8_t* rgb = colour.pixels.data() + 3 * i;
    EXPECT_NEAR(grey.pixels[i], 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2], 0.51);
  }
}

TEST(Decode, ThreadsDoNotDisturbEachOther) {
  const std::vector<std::string> files = {"rgb_420.jpg", "rgba.png", "lossless.webp", "lzw.tif"};
  std::vector<Image> expected;
  for (const auto& file : files) expected.push_back(read_image(kTestImages / file));
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 40; ++i) {
        const std::size_t which = std::size_t(t + i) % files.size();
        wrong[t] += read_image(kTestImages / files[which]).pixels != expected[which].pixels;
        wrong[t] += reason_of_refusal(bytes_of("hello")) == "decoded";
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

// The eight ways to store the picture 1 2 3 / 4 5 6 (EXIF 2.3, tag 274), all to be seen as that.
TEST(Orientation, AllEightAreUpright) {
  const std::vector<std::uint8_t> upright = {1, 2, 3, 4, 5, 6};
  const std::vector<std::vector<std::uint8_t>> stored = {
      {1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}, {6, 5, 4, 3, 2, 1}, {4, 5, 6, 1, 2, 3},
      {1, 4, 2, 5, 3, 6}, {3, 6, 2, 5, 1, 4}, {6, 3, 5, 2, 4, 1}, {4, 1, 5, 2, 6, 3}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const bool turned = orientation > 4;
    for (const int channels : {1, 3}) {
      Image image = make_image(turned ? 2 : 3, turned ? 3 : 2, channels);
      for (int i = 0; i < 6; ++i) {
        for (int c = 0; c < channels; ++c) {
          image.pixels[i * channels + c] = std::uint8_t(stored[orientation - 1][i] + 10 * c);
        }
      }
      const Image result = apply_orientation(image, orientation);
      ASSERT_EQ(result.width, 3);
      ASSERT_EQ(result.height, 2);
      for (int i = 0; i < 6; ++i) {
        for (int c = 0; c < channels; ++c) {
          EXPECT_EQ(result.pixels[i * channels + c], upright[i] + 10 * c) << "orientation " << orientation;
        }
      }
    }
  }
}

}  // namespace
}  // namespace vretnet::vision
