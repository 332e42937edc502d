// The policy: its string, what it draws and how often. The pixels are in tests/goldens.
#include "vision/image/rand_augment.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "core/base/error.h"
#include "vision/image/affine.h"
#include "vision/image/augment.h"
#include "vision/image/point_operations.h"

namespace vretnet::vision {
namespace {

const std::vector<std::uint8_t> kFill = {120, 120, 120};

Image noise(int width, int height, std::uint64_t seed = 1) {
  Image image = make_image(width, height, 3);
  Random random(seed);
  for (std::uint8_t& value : image.pixels) value = std::uint8_t(10 + random.below(200));
  return image;
}

TEST(RandAugmentString, EveryPartIsRead) {
  const RandAugment plain = parse_rand_augment("rand");
  EXPECT_EQ(plain.magnitude, 10);
  EXPECT_EQ(plain.layers, 2);
  EXPECT_EQ(plain.probability, 0.5);
  EXPECT_EQ(plain.magnitude_deviation, 0);
  EXPECT_FALSE(plain.increasing);
  const RandAugment full = parse_rand_augment("rand-inc1-mmax30-mstd0.5-p0.7-n3-m15");
  EXPECT_EQ(full.magnitude, 15);
  EXPECT_EQ(full.layers, 3);
  EXPECT_EQ(full.probability, 0.7);
  EXPECT_EQ(full.magnitude_deviation, 0.5);
  EXPECT_EQ(full.largest_magnitude, 30);
  EXPECT_TRUE(full.increasing);
}

TEST(RandAugmentString, WrongPartsAreNamed) {
  const auto expect_refused = [](const std::string& text, const std::string& part) {
    try {
      parse_rand_augment(text);
      ADD_FAILURE() << text << " is accepted";
    } catch (const UsageError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("'" + text + "'"), std::string::npos) << message;
      EXPECT_NE(message.find("'" + part + "'"), std::string::npos) << message;
    }
  };
  for (const char* part :
       {"m", "m9.5", "m-1", "n0", "n99", "p1.5", "mstd", "inc2", "q3", "m9x", "mstdnan", "", "tweights"}) {
    const std::string text = std::string("rand-") + part;
    expect_refused(text, std::string(part) == "m-1" ? "m" : part);
  }
  expect_refused("", "rand");
  expect_refused("augmix-m9", "rand");
}

TEST(RandAugment, IsAFunctionOfItsRandom) {
  const RandAugment policy = parse_rand_augment("rand-m9-n3-mstd0.5-p1");
  const auto changed = [&](std::uint64_t seed) {
    Image image = noise(16, 12);
    Random random(seed);
    rand_augment(image, policy, Interpolation::Bicubic, kFill, random);
    return image.pixels;
  };
  EXPECT_EQ(changed(3), changed(3));
  EXPECT_NE(changed(3), changed(4));
}

// Each of n layers is skipped with probability 1 − p: no layer at all with (1 − p)ⁿ. At magnitude 9 with
// increasing strengths, every operation changes a picture of this size and range.
TEST(RandAugment, LayersAreSkippedAsOftenAsAsked) {
  RandAugment policy = parse_rand_augment("rand-m9-n2-p0.5-inc1");
  constexpr int kPictures = 2000;
  const Image before = noise(20, 20);
  int untouched = 0;
  for (std::uint64_t i = 0; i < kPictures; ++i) {
    Image image = before;
    Random random(5, {i});
    rand_augment(image, policy, Interpolation::Bilinear, kFill, random);
    untouched += image.pixels == before.pixels;
  }
  // 1/4, and 1/225 of the pairs that undo themselves: Invert twice.
  const double deviation = std::sqrt(kPictures * 0.25 * 0.75);
  EXPECT_NEAR(untouched, kPictures * (0.25 + 0.25 / 225), 4.5 * deviation);
}

// Every operation is drawn as often: on this picture each leaves its own trace.
TEST(RandAugment, OperationsAreDrawnAlike) {
  const RandAugment policy = parse_rand_augment("rand-m8-n1-p1-inc1");
  const Image before = noise(10, 8);
  std::map<std::string, int> operation_of;  // pixels → operation
  const auto key = [](const Image& image) { return std::string(image.pixels.begin(), image.pixels.end()); };
  for (int operation = 0; operation < kAugmentOperations; ++operation) {
    for (const bool opposite : {false, true}) {
      const auto kind = static_cast<AugmentOperation>(operation);
      Image image = before;
      apply_operation(image, kind, operation_argument(kind, 8, true, opposite), Interpolation::Bilinear,
                      kFill);
      const auto [place, fresh] = operation_of.emplace(key(image), operation);
      EXPECT_EQ(place->second, operation) << "two operations look alike";
    }
  }
  std::vector<int> counts(kAugmentOperations);
  constexpr int kEach = 200;
  for (std::uint64_t i = 0; i < kEach * kAugmentOperations; ++i) {
    Image image = before;
    Random random(6, {i});
    rand_augment(image, policy, Interpolation::Bilinear, kFill, random);
    ASSERT_TRUE(operation_of.contains(key(image)));
    ++counts[std::size_t(operation_of[key(image)])];
  }
  double chi_squared = 0;
  for (const int count : counts) chi_squared += (count - kEach) * double(count - kEach) / kEach;
  EXPECT_LT(chi_squared, 36.2);  // 14 degrees of freedom, 0.1 %
}

TEST(RandAugment, MagnitudesStayWithinTheirLimit) {
  // At mstd 50 most draws are cut off, to 0 or to 10: thresholds of Solarize then lie in 0 … 256.
  EXPECT_EQ(operation_argument(AugmentOperation::Solarize, 10, false, false), 256);
  EXPECT_EQ(operation_argument(AugmentOperation::Solarize, 10, true, false), 0);
  EXPECT_EQ(operation_argument(AugmentOperation::Posterize, 10, true, false), 0);
  EXPECT_EQ(operation_argument(AugmentOperation::Rotate, 10, false, true), -30);
  EXPECT_DOUBLE_EQ(operation_argument(AugmentOperation::Color, 10, true, true), 0.1);
  EXPECT_EQ(operation_argument(AugmentOperation::SolarizeAdd, 30, false, false), 128);
  for (const char* text : {"rand-m9-n4-p1-mstd50", "rand-m30-n4-p1-mmax30-mstd101-inc1", "rand-m0-n4-p1"}) {
    const RandAugment policy = parse_rand_augment(text);
    for (std::uint64_t i = 0; i < 300; ++i) {
      Image image = noise(int(1 + i % 7), int(1 + i % 5));
      Random random(7, {i});
      rand_augment(image, policy, Interpolation::Bicubic, kFill, random);
      ASSERT_EQ(image.pixels.size(), std::size_t(image.width) * std::size_t(image.height) * 3);
    }
  }
}

TEST(Affine, WholeShiftsMovePixelsAndUncoverTheFill) {
  const Image image = noise(7, 5);
  for (const Interpolation interpolation : {Interpolation::Bilinear, Interpolation::Bicubic}) {
    EXPECT_EQ(affine_transform(image, {}, interpolation, kFill).pixels, image.pixels);
    const Image moved = affine_transform(image, {.x0 = 2, .y0 = -1}, interpolation, kFill);
    for (int y = 0; y < 5; ++y) {
      for (int x = 0; x < 7; ++x) {
        for (int c = 0; c < 3; ++c) {
          const bool inside = x + 2 < 7 && y >= 1;
          ASSERT_EQ(moved.row(y)[3 * x + c], inside ? image.row(y - 1)[3 * (x + 2) + c] : kFill[0]);
        }
      }
    }
  }
}

TEST(PointOperations, NoBitIsBlackAndAllAreThePicture) {
  Image image = noise(5, 5);
  const std::vector<std::uint8_t> before = image.pixels;
  posterize(image, 8);
  EXPECT_EQ(image.pixels, before);
  posterize(image, 0);
  EXPECT_EQ(image.pixels, std::vector<std::uint8_t>(before.size(), 0));
}

// Switching RandAugment or erasing on changes no other draw of the picture: the crop and the flip stay.
TEST(Augment, RandAugmentComesAfterCropAndFlip) {
  Preprocessing preprocessing;
  preprocessing.height = preprocessing.width = 10;
  Augmentation plain{.pad_pixels = 2}, policy = plain;
  policy.rand_augment = RandAugment{.probability = 0};
  policy.erasing.probability = 1;
  LazyImage image(noise(10, 10));
  Random a(8), b(8);
  EXPECT_EQ(augment_pixels(image, plain, preprocessing, a).pixels,
            augment_pixels(image, policy, preprocessing, b).pixels);
}

}  // namespace
}  // namespace vretnet::vision
