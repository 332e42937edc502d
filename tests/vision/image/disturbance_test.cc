// Disturbed pictures: what each disturbance does, counted.
#include "vision/image/disturbance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "vision/image/decode.h"
#include "vision/image/encode_jpeg.h"

namespace vretnet::vision {
namespace {

Image plain(int width, int height, int channels, std::uint8_t value) {
  Image image = make_image(width, height, channels);
  std::fill(image.pixels.begin(), image.pixels.end(), value);
  return image;
}

Image disturbed(Image image, const Disturbance& disturbance, std::uint64_t seed = 1) {
  Random random(seed);
  disturb(image, disturbance, random);
  return image;
}

// Patches of `size` that are all of colour 7; every other patch has to be as it was, 200.
std::set<std::pair<int, int>> hidden_patches(const Image& image, int size) {
  std::set<std::pair<int, int>> hidden;
  for (int row = 0; row < image.height / size; ++row) {
    for (int column = 0; column < image.width / size; ++column) {
      const std::uint8_t first = image.row(row * size)[std::size_t(column) * size * image.channels];
      if (first == 7) hidden.insert({row, column});
      for (int y = 0; y < size; ++y) {
        for (int i = 0; i < size * image.channels; ++i) {
          EXPECT_EQ(image.row(row * size + y)[std::size_t(column) * size * image.channels + i], first);
        }
      }
      EXPECT_TRUE(first == 7 || first == 200) << int(first);
    }
  }
  return hidden;
}

TEST(Disturbance, HidesTheShareOfPatchesThatItSays) {
  for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    const Occlusion occlusion{.share = share, .patch_size = 4, .fill = {7, 7, 7}};
    const auto hidden = hidden_patches(disturbed(plain(32, 24, 3, 200), occlusion), 4);
    EXPECT_EQ(hidden.size(), static_cast<std::size_t>(std::lround(share * 48)));
  }
  std::set<std::set<std::pair<int, int>>> ways;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    ways.insert(hidden_patches(disturbed(plain(32, 24, 1, 200), Occlusion{0.5, false, 4, {7}}, seed), 4));
  }
  EXPECT_EQ(ways.size(), 20u) << "another seed hides other patches";
}

TEST(Disturbance, ABlockIsARectangle) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto hidden =
        hidden_patches(disturbed(plain(32, 32, 1, 200), Occlusion{0.5, true, 4, {7}}, seed), 4);
    EXPECT_NEAR(static_cast<double>(hidden.size()), 32, 4);
    int top = 8, left = 8, bottom = 0, right = 0;
    for (const auto& [row, column] : hidden) {
      top = std::min(top, row), bottom = std::max(bottom, row + 1);
      left = std::min(left, column), right = std::max(right, column + 1);
    }
    EXPECT_EQ(static_cast<int>(hidden.size()), (bottom - top) * (right - left));
  }
}

// 64 × 64 × 3 values: the deviation of the sample is within 5 % of the one asked for (its own deviation is
// 0.6 %).
TEST(Disturbance, NoiseHasTheDeviationOfItsStrength) {
  const double small[] = {0.04, 0.06, 0.08, 0.09, 0.10};
  for (int strength = 1; strength <= kCorruptionStrengths; ++strength) {
    const Image image = disturbed(plain(64, 64, 3, 128), Corruption{CorruptionKind::noise, strength});
    double squares = 0, sum = 0;
    for (const std::uint8_t value : image.pixels) {
      sum += value - 128.0;
      squares += (value - 128.0) * (value - 128.0);
    }
    const auto count = static_cast<double>(image.pixels.size());
    EXPECT_NEAR(std::sqrt(squares / count) / 255, small[strength - 1], 0.05 * small[strength - 1]);
    EXPECT_NEAR(sum / count, 0, 1);
  }
}

// A point becomes a Gaussian of the deviation asked for; a plain picture stays as it is, edges included.
TEST(Disturbance, BlurSpreadsAPoint) {
  const Disturbance blur = Corruption{CorruptionKind::blur, 5};  // deviation 1 up to 64 pixels
  EXPECT_EQ(disturbed(plain(9, 7, 3, 77), blur).pixels, plain(9, 7, 3, 77).pixels);
  Image point = plain(15, 13, 1, 0);
  point.row(6)[7] = 255;
  const Image spread = disturbed(point, blur);
  const double peak = 255 / (2 * std::acos(-1.0));  // of a normal distribution in the plane
  EXPECT_NEAR(spread.row(6)[7], peak, 1);
  EXPECT_NEAR(spread.row(6)[8], peak * std::exp(-0.5), 1);
  EXPECT_NEAR(spread.row(5)[8], peak * std::exp(-1.0), 1);
  EXPECT_EQ(spread.row(6)[6], spread.row(6)[8]);
  EXPECT_EQ(spread.row(5)[7], spread.row(7)[7]);
}

TEST(Disturbance, BrightnessKeepsHue) {
  Image image = make_image(1, 1, 3);
  image.pixels = {100, 50, 0};
  EXPECT_EQ(disturbed(image, Corruption{CorruptionKind::brightness, 5}).pixels,
            (std::vector<std::uint8_t>{177, 88, 0}));  // value 100 + 0.3·255 = 176.5
  image.pixels = {0, 0, 0};
  EXPECT_EQ(disturbed(image, Corruption{CorruptionKind::brightness, 5}).pixels,
            (std::vector<std::uint8_t>{77, 77, 77}));
  image.pixels = {255, 128, 0};
  EXPECT_EQ(disturbed(image, Corruption{CorruptionKind::brightness, 5}).pixels, image.pixels);
}

TEST(Disturbance, JpegLosesMoreTheStrongerItIs) {
  Image image = make_image(32, 32, 3);
  Random random(3);
  for (std::uint8_t& value : image.pixels) value = static_cast<std::uint8_t>(random.below(256));
  double before = 0;
  for (int strength = 1; strength <= kCorruptionStrengths; ++strength) {
    const Image again = disturbed(image, Corruption{CorruptionKind::jpeg, strength});
    ASSERT_EQ(again.pixels.size(), image.pixels.size());
    double error = 0;
    for (std::size_t i = 0; i < image.pixels.size(); ++i) {
      const double difference = double(again.pixels[i]) - image.pixels[i];
      error += difference * difference;
    }
    EXPECT_GT(error, before);
    before = error;
  }
}

TEST(EncodeJpeg, IsReadAgain) {
  for (const int channels : {1, 3}) {
    const Image image = plain(17, 9, channels, 90);
    const std::vector<std::byte> file = encode_jpeg(image, 95);
    EXPECT_EQ(probe_image(file, "encoded").format, ImageFormat::Jpeg);
    EXPECT_EQ(decode_image(file, "encoded", {}, channels).pixels, image.pixels);
  }
}

TEST(Disturbance, Names) {
  EXPECT_EQ(name_of(Disturbance(Corruption{CorruptionKind::blur, 3})), "blur 3");
  EXPECT_EQ(name_of(Disturbance(Occlusion{.share = 0.25})), "patches of 25%");
  EXPECT_EQ(name_of(Disturbance(Occlusion{.share = 0.5, .block = true})), "a block of 50%");
}

}  // namespace
}  // namespace vretnet::vision
