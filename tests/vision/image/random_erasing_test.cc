#include "vision/image/random_erasing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

namespace vretnet::vision {
namespace {

constexpr int kHeight = 24, kWidth = 40, kChannels = 3;
constexpr float kUntouched = 99;

struct Erased {
  std::vector<float> values;
  int left = kWidth, right = -1, top = kHeight, bottom = -1;  // the rectangle, right and bottom inside
  int count = 0;                                              // of changed values

  int area() const { return count / kChannels; }
};

Erased erase_once(const RandomErasing& erasing, std::uint64_t seed) {
  Erased result{std::vector<float>(kHeight * kWidth * kChannels, kUntouched)};
  Random random(3, {seed});
  erase(erasing, kHeight, kWidth, kChannels, random, result.values.data());
  for (int i = 0; i < kHeight * kWidth * kChannels; ++i) {
    if (result.values[std::size_t(i)] == kUntouched) continue;
    const int x = i / kChannels % kWidth, y = i / kChannels / kWidth;
    result.left = std::min(result.left, x);
    result.right = std::max(result.right, x);
    result.top = std::min(result.top, y);
    result.bottom = std::max(result.bottom, y);
    ++result.count;
  }
  return result;
}

TEST(RandomErasing, OneRectangleOfTheAskedAreaAndRatio) {
  const RandomErasing erasing{.probability = 1, .mode = EraseMode::Constant};
  double sum = 0;
  constexpr int kPictures = 500;
  for (std::uint64_t i = 0; i < kPictures; ++i) {
    const Erased erased = erase_once(erasing, i);
    ASSERT_GT(erased.count, 0);
    const int width = erased.right - erased.left + 1, height = erased.bottom - erased.top + 1;
    ASSERT_EQ(erased.count, width * height * kChannels) << "not a full rectangle";
    ASSERT_LT(width, kWidth);
    ASSERT_LT(height, kHeight);
    // Sides are rounded: each may be off by a half.
    ASSERT_LE((width - 0.5) * (height - 0.5), erasing.area_high * kWidth * kHeight);
    ASSERT_GE((width + 0.5) * (height + 0.5), erasing.area_low * kWidth * kHeight);
    ASSERT_LE((height - 0.5) / (width + 0.5), 1 / erasing.ratio_low);
    ASSERT_GE((height + 0.5) / (width - 0.5), erasing.ratio_low);
    sum += erased.area();
  }
  // Uniform areas have the mean (0.02 + 1/3) / 2 of the picture; those that do not fit are redrawn, so less.
  const double mean = sum / kPictures / (kWidth * kHeight);
  EXPECT_LT(mean, (erasing.area_low + erasing.area_high) / 2 + 0.02);
  EXPECT_GT(mean, 0.12);
}

TEST(RandomErasing, AsOftenAsAsked) {
  for (const double probability : {0.0, 0.25, 1.0}) {
    int erased = 0;
    constexpr int kPictures = 1000;
    for (std::uint64_t i = 0; i < kPictures; ++i) {
      erased += erase_once({.probability = probability, .mode = EraseMode::Constant}, i).count > 0;
    }
    EXPECT_NEAR(erased, kPictures * probability,
                4.5 * std::sqrt(kPictures * probability * (1 - probability)) + 1e-9);
  }
}

TEST(RandomErasing, ModesFillAsTheySay) {
  double sum = 0, squares = 0;
  std::int64_t count = 0;
  for (std::uint64_t i = 0; i < 100; ++i) {
    std::set<float> constant, colour, pixel;
    const auto kinds = [&](EraseMode mode) {
      const Erased erased = erase_once({.probability = 1, .mode = mode}, i);
      std::set<float> values(erased.values.begin(), erased.values.end());
      values.erase(kUntouched);
      if (mode == EraseMode::Pixel) {
        EXPECT_EQ(values.size(), std::size_t(erased.count));
        for (const float value : erased.values) {
          if (value == kUntouched) continue;
          sum += value;
          squares += double(value) * value;
          ++count;
        }
      }
      return values;
    };
    EXPECT_EQ(kinds(EraseMode::Constant), std::set<float>{0});
    EXPECT_EQ(kinds(EraseMode::Colour).size(), std::size_t(kChannels));
    kinds(EraseMode::Pixel);
  }
  EXPECT_NEAR(sum / double(count), 0, 4.5 / std::sqrt(double(count)));
  EXPECT_NEAR(squares / double(count), 1, 4.5 * std::sqrt(2.0 / double(count)));
}

TEST(RandomErasing, APictureOfOnePixelStaysWhole) {
  float value = kUntouched;
  Random random(1);
  erase({.probability = 1}, 1, 1, 1, random, &value);
  EXPECT_EQ(value, kUntouched);
}

}  // namespace
}  // namespace vretnet::vision
