// A part of a picture equals that part of the whole picture; at reduced size it is close to it.
#include "vision/image/lazy_image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/vision/image/jpeg_files.h"
#include "vision/image/augment.h"
#include "vision/image/encode_png.h"
#include "vision/image/orientation.h"
#include "vision/image/transforms.h"

namespace vretnet::vision {
namespace {

std::vector<std::uint8_t> pixels_of(const ImageView& view) {
  std::vector<std::uint8_t> pixels;
  for (int y = 0; y < view.height; ++y) {
    pixels.insert(pixels.end(), view.row(y), view.row(y) + std::size_t(view.width) * view.channels);
  }
  return pixels;
}

// Every corner, the whole, slivers, and parts at random places.
std::vector<Rectangle> areas_of(const Size& size) {
  const int width = size.width, height = size.height;
  std::vector<Rectangle> areas = {{0, 0, width, height},
                                  {0, 0, 1, 1},
                                  {width - 1, height - 1, 1, 1},
                                  {width - 1, 0, 1, height},
                                  {0, height - 1, width, 1},
                                  {width / 2, 0, 1, height},
                                  {1, 1, std::max(1, width - 2), std::max(1, height - 2)}};
  if (width == 1 || height == 1) areas.pop_back();
  Random random(11, {std::uint64_t(width), std::uint64_t(height)});
  const auto below = [&](int end) { return int(random.below(std::uint64_t(end))); };
  for (int i = 0; i < 60; ++i) {
    const int left = below(width), top = below(height);
    areas.push_back({left, top, 1 + below(width - left), 1 + below(height - top)});
  }
  return areas;
}

class LazyJpeg : public ::testing::TestWithParam<JpegKind> {};

TEST_P(LazyJpeg, APartIsThatPartOfTheWhole) {
  const JpegKind& kind = GetParam();
  for (const Size stored : {Size{149, 101}, Size{64, 48}, Size{33, 7}, Size{3, 40}, Size{1, 1}}) {
    const auto bytes = make_jpeg(photo_like(stored.width, stored.height, kind.channels, 3), kind);
    for (const int channels : {3, 1}) {
      const Image whole = decode_image(bytes, "whole", {}, channels);
      for (const Rectangle& area : areas_of({whole.width, whole.height})) {
        LazyImage lazy(bytes, "part", {}, channels);
        ASSERT_EQ(lazy.size(), (Size{whole.width, whole.height}));
        const LazyImage::Part part = lazy.read(area);
        ASSERT_EQ(part.pixels.width, area.width);
        ASSERT_EQ(part.pixels.height, area.height);
        ASSERT_TRUE(part.area.left == 0 && part.area.top == 0 && part.area.right == float(area.width) &&
                    part.area.bottom == float(area.height));
        ASSERT_EQ(pixels_of(part.pixels), pixels_of(ImageView(whole).part(area)))
            << stored.width << " x " << stored.height << ", " << channels << " channels: " << area.left
            << ", " << area.top << ", " << area.width << " x " << area.height;
      }
    }
  }
}

// Resized from reduced pixels and from all pixels; the mean and the largest difference of `area`.
std::pair<double, int> reduced_error(const std::vector<std::byte>& bytes, const Rectangle& area,
                                     const Size& enough, Interpolation interpolation, bool reduces) {
  const Image whole = decode_image(bytes, "whole");
  const Image expected = resize(ImageView(whole).part(area), enough.width, enough.height, interpolation);
  LazyImage lazy(bytes, "part", {}, 3);
  const LazyImage::Part part = lazy.read_reduced(area, enough);
  EXPECT_EQ(part.pixels.width < area.width, reduces) << "reduced?";
  EXPECT_GE(part.pixels.width, enough.width);
  EXPECT_GE(part.pixels.height, enough.height);
  const Image found = resize(part.pixels, part.area, enough.width, enough.height, interpolation);
  double sum = 0;
  int largest = 0;
  for (std::size_t i = 0; i < found.pixels.size(); ++i) {
    const int difference = std::abs(int(found.pixels[i]) - int(expected.pixels[i]));
    sum += difference;
    largest = std::max(largest, difference);
  }
  return {sum / double(found.pixels.size()), largest};
}

// Bounds as measured on these pictures, whose edges are sharper than those of photographs, with a tenth
// added.
TEST_P(LazyJpeg, ReducedPixelsAreCloseToAllPixels) {
  const JpegKind& kind = GetParam();
  const auto bytes = make_jpeg(photo_like(613, 447, kind.channels, 4), kind);
  const bool turned = kind.orientation > 4;
  const bool reduces = kind.channels != 3 || (kind.across == kind.down);
  const Rectangle areas[] = {
      {0, 0, turned ? 447 : 613, turned ? 613 : 447}, {37, 21, 333, 301}, {5, 3, 131, 409}};
  double worst_mean = 0;
  int worst = 0;
  for (const auto interpolation : {Interpolation::Bilinear, Interpolation::Bicubic}) {
    for (const Rectangle& area : areas) {
      for (const double share : {0.24, 0.15, 0.12, 0.06}) {
        const Size enough{int(area.width * share), int(area.height * share)};
        const auto [mean, largest] = reduced_error(bytes, area, enough, interpolation, reduces);
        worst_mean = std::max(worst_mean, mean);
        worst = std::max(worst, largest);
      }
    }
  }
  EXPECT_LE(worst_mean, reduces ? 0.65 : 0);
  EXPECT_LE(worst, reduces ? 8 : 0);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, LazyJpeg,
    ::testing::Values(JpegKind{"c444", 3, 1, 1}, JpegKind{"c422", 3, 2, 1}, JpegKind{"c440", 3, 1, 2},
                      JpegKind{"c420", 3, 2, 2}, JpegKind{"c411", 3, 4, 1}, JpegKind{"c410", 3, 4, 2},
                      JpegKind{"grey", 1}, JpegKind{"cmyk", 4}, JpegKind{"progressive420", 3, 2, 2, true},
                      JpegKind{"progressive444", 3, 1, 1, true}, JpegKind{"progressive_grey", 1, 1, 1, true},
                      JpegKind{"restarts", 3, 2, 2, false, 1}, JpegKind{"turned2", 3, 2, 2, false, 0, 2},
                      JpegKind{"turned3", 3, 2, 1, false, 0, 3}, JpegKind{"turned4", 3, 2, 2, false, 0, 4},
                      JpegKind{"turned5", 3, 2, 2, true, 0, 5}, JpegKind{"turned6", 3, 2, 2, false, 0, 6},
                      JpegKind{"turned7", 1, 1, 1, false, 0, 7}, JpegKind{"turned8", 3, 2, 2, false, 2, 8}),
    [](const auto& test) { return test.param.name; });

TEST(LazyImage, ReducesOnlyWhereEnoughIsLeft) {
  const auto bytes = make_jpeg(photo_like(400, 300, 3, 5), {});
  const auto reduced_width = [&](const Rectangle& area, const Size& enough) {
    LazyImage lazy(bytes, "part", {}, 3);
    return lazy.read_reduced(area, enough).pixels.width;
  };
  EXPECT_EQ(reduced_width({0, 0, 400, 300}, {100, 75}), 200);
  EXPECT_EQ(reduced_width({0, 0, 400, 300}, {100, 76}), 400);
  EXPECT_EQ(reduced_width({0, 0, 400, 300}, {101, 75}), 400);
  EXPECT_EQ(reduced_width({0, 0, 400, 300}, {50, 37}), 100);
  EXPECT_EQ(reduced_width({1, 1, 16, 16}, {4, 4}), 9) << "begins and ends inside a pixel";
  EXPECT_EQ(reduced_width({0, 0, 400, 300}, {3, 2}), 100) << "a quarter is the least";
}

TEST(LazyImage, AFileThatEndsEarlyIsRefusedWhateverPartIsWanted) {
  for (const bool progressive : {false, true}) {
    JpegKind kind;
    kind.progressive = progressive;
    auto bytes = make_jpeg(photo_like(200, 160, 3, 6), kind);
    for (const std::size_t missing : {std::size_t(1), std::size_t(2), std::size_t(500), bytes.size() / 2}) {
      std::vector<std::byte> cut(bytes.begin(), bytes.end() - std::ptrdiff_t(missing));
      EXPECT_THROW(decode_image(cut, "cut"), ImageError) << missing;
      EXPECT_THROW(LazyImage(cut, "cut", {}, 3).read({0, 0, 8, 8}), ImageError) << missing;
    }
    // Bytes after the end marker are nobody's.
    bytes.push_back(std::byte{7});
    EXPECT_EQ(pixels_of(LazyImage(bytes, "longer", {}, 3).read({9, 9, 30, 30}).pixels),
              pixels_of(ImageView(decode_image(bytes, "longer")).part({9, 9, 30, 30})));
  }
}

TEST(LazyImage, ChecksLimitsBeforeDecoding) {
  DecodeLimits limits;
  limits.max_pixels = 99;
  EXPECT_THROW(LazyImage(make_jpeg(photo_like(10, 10, 3, 7), {}), "large", limits, 3), ImageError);
}

TEST(LazyImage, OtherFormatsAndPixels) {
  const Image image = photo_like(50, 40, 3, 8);
  const Rectangle area{3, 4, 20, 30};
  const auto expected = pixels_of(ImageView(image).part(area));
  LazyImage png(encode_png(image), "png", {}, 3), taken{Image(image)}, seen{ImageView(image)};
  for (LazyImage* lazy : {&png, &taken, &seen}) {
    EXPECT_EQ(lazy->size(), (Size{50, 40}));
    EXPECT_EQ(pixels_of(lazy->read_reduced(area, {2, 2}).pixels), expected);
  }
  LazyImage moved = std::move(png);
  EXPECT_EQ(pixels_of(moved.read(area).pixels), expected);
}

TEST(StoredBox, IsWhereThePixelsComeFrom) {
  const Image stored = photo_like(23, 17, 3, 9);
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Image upright = apply_orientation(stored, orientation);
    const Rectangle area{3, 5, 8, 2};
    const Box box = stored_box({3, 5, 11, 7}, {23, 17}, orientation);
    const Rectangle from{int(box.left), int(box.top), int(box.right - box.left), int(box.bottom - box.top)};
    EXPECT_EQ(apply_orientation(crop(stored, from), orientation).pixels,
              pixels_of(ImageView(upright).part(area)))
        << orientation;
    const Box back = upright_box(box, {23, 17}, orientation);
    EXPECT_TRUE(back.left == 3 && back.top == 5 && back.right == 11 && back.bottom == 7) << orientation;
  }
}

TEST(Augment, PartsOfAFileGiveThePixelsOfTheWhole) {
  JpegKind kind;
  kind.orientation = 6;
  const auto bytes = make_jpeg(photo_like(180, 140, 3, 10), kind);
  const Image whole = decode_image(bytes, "whole");
  Preprocessing preprocessing;
  preprocessing.width = preprocessing.height = 32;
  for (const bool resized : {true, false}) {
    Augmentation augmentation;
    augmentation.random_resized_crop = resized;
    augmentation.pad_pixels = 2;
    for (std::uint64_t seed = 0; seed < 30; ++seed) {
      LazyImage file(bytes, "file", {}, 3), pixels{ImageView(whole)};
      Random a(seed), b(seed);
      EXPECT_EQ(augment_pixels(file, augmentation, preprocessing, a).pixels,
                augment_pixels(pixels, augmentation, preprocessing, b).pixels);
    }
  }
}

}  // namespace
}  // namespace vretnet::vision
