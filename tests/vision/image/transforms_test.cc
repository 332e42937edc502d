// Sizes, crops and random augmentation against torchvision's rules.
#include "vision/image/transforms.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "vision/image/augment.h"

namespace vretnet::vision {
namespace {

Image numbered(int width, int height, int channels) {
  Image image = make_image(width, height, channels);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = std::uint8_t(i * 37 + i / 256);
  return image;
}

TEST(Transforms, ShorterSideSizes) {
  EXPECT_EQ(shorter_side_size({100, 37}, 16), (Size{43, 16}));  // int(16 · 100 / 37) = int(43.24)
  EXPECT_EQ(shorter_side_size({37, 100}, 16), (Size{16, 43}));
  EXPECT_EQ(shorter_side_size({500, 375}, 256), (Size{341, 256}));  // int(341.33)
  EXPECT_EQ(shorter_side_size({28, 28}, 32), (Size{32, 32}));
  EXPECT_EQ(shorter_side_size({1, 40000}, 224), (Size{224, 8960000}));
  EXPECT_EQ(covering_size({500, 375}, {256, 256}), (Size{341, 256}));
  EXPECT_EQ(covering_size({500, 375}, {400, 200}), (Size{400, 300}));
  EXPECT_EQ(covering_size({375, 500}, {400, 200}), (Size{400, 533}));  // round(533.33)
}

TEST(Transforms, CentersAreRoundedToEven) {
  EXPECT_EQ(center_rectangle({5, 7}, {2, 2}), (Rectangle{2, 2, 2, 2}));  // 1.5 and 2.5
  EXPECT_EQ(center_rectangle({341, 256}, {224, 224}), (Rectangle{58, 16, 224, 224}));
  EXPECT_EQ(center_rectangle({4, 4}, {4, 4}), (Rectangle{0, 0, 4, 4}));
}

TEST(Transforms, CropsReachOutsideIntoBlack) {
  const Image image = numbered(5, 4, 3);
  const Image out = crop(image, {-2, 1, 9, 5});
  for (int y = 0; y < 5; ++y) {
    for (int x = 0; x < 9; ++x) {
      for (int c = 0; c < 3; ++c) {
        const bool inside = x >= 2 && x < 7 && y < 3;
        EXPECT_EQ(out.row(y)[x * 3 + c], inside ? image.row(y + 1)[(x - 2) * 3 + c] : 0);
      }
    }
  }
}

TEST(Transforms, FlippingTwiceIsNothing) {
  for (const int width : {1, 2, 5, 8}) {
    const Image image = numbered(width, 3, 3);
    Image flipped = image;
    flip_horizontally(flipped);
    EXPECT_EQ(flipped.row(2)[0], image.row(2)[(width - 1) * 3]);
    flip_horizontally(flipped);
    EXPECT_EQ(flipped.pixels, image.pixels);
  }
}

TEST(Transforms, WindowOfAResizeIsItsCrop) {
  for (const int channels : {1, 3}) {
    const Image image = numbered(67, 45, channels);
    for (const auto& [width, height] :
         {Size{31, 20}, Size{67, 20}, Size{31, 45}, Size{90, 77}, Size{67, 45}, Size{66, 9}}) {
      const Rectangle window{3, 4, width - 7, height - 6};
      const Image whole = resize(image, width, height, Interpolation::Bicubic);
      EXPECT_EQ(resize_window(image, width, height, window, Interpolation::Bicubic).pixels,
                crop(whole, window).pixels)
          << width << " x " << height;
    }
  }
}

TEST(Transforms, ResizedPartIsTheResizedCrop) {
  const Image image = numbered(50, 40, 3);
  const Rectangle part{7, 9, 30, 21};
  EXPECT_EQ(resize(ImageView(image).part(part), 16, 16, Interpolation::Bilinear).pixels,
            resize(crop(image, part), 16, 16, Interpolation::Bilinear).pixels);
}

TEST(Transforms, NormalizationFollowsToTensor) {
  const Image image = numbered(4, 3, 3);
  std::vector<float> out(36);
  const std::vector<float> mean = {0.1f, 0.2f, 0.3f}, deviation = {0.5f, 0.6f, 0.7f};
  normalize(image, mean, deviation, out.data());
  for (int i = 0; i < 36; ++i) EXPECT_EQ(out[i], (image.pixels[i] / 255.0f - mean[i % 3]) / deviation[i % 3]);
}

TEST(Transforms, GreyModelsTakeColourPictures) {
  Preprocessing grey;
  grey.height = grey.width = 8;
  grey.channels = 1;
  grey.mean = {0.5f};
  grey.deviation = {0.25f};
  std::vector<float> out(grey.values(), -100);
  preprocess(numbered(20, 30, 3), grey, out.data());
  for (const float value : out) EXPECT_GE(value, -2);
}

TEST(Augment, ResizedCropsKeepToTheirRanges) {
  Augmentation augmentation;
  augmentation.scale_low = 0.2;
  augmentation.scale_high = 0.5;
  Random random(7);
  double area = 0;
  for (int i = 0; i < 2000; ++i) {
    const Rectangle crop = draw_resized_crop({400, 300}, augmentation, random);
    EXPECT_GE(crop.left, 0);
    EXPECT_GE(crop.top, 0);
    EXPECT_LE(crop.left + crop.width, 400);
    EXPECT_LE(crop.top + crop.height, 300);
    const double share = crop.width * double(crop.height) / (400 * 300),
                 ratio = double(crop.width) / crop.height;
    EXPECT_GT(share, 0.195);
    EXPECT_LT(share, 0.505);
    EXPECT_GT(ratio, 0.74);
    EXPECT_LT(ratio, 1.35);
    area += share;
  }
  EXPECT_NEAR(area / 2000, 0.35, 0.01);
}

// No crop of all the area has an allowed ratio: the largest centred one that has.
TEST(Augment, ImpossibleCropsFallBackToTheCenter) {
  Augmentation augmentation;
  augmentation.scale_low = 1;
  Random random(1);
  EXPECT_EQ(draw_resized_crop({100, 10}, augmentation, random), (Rectangle{43, 0, 13, 10}));
  EXPECT_EQ(draw_resized_crop({10, 100}, augmentation, random), (Rectangle{0, 43, 10, 13}));
}

Preprocessing small() {
  Preprocessing preprocessing;
  preprocessing.height = preprocessing.width = 12;
  return preprocessing;
}

TEST(Augment, PaddedCropsReachEveryOffset) {
  Image image = make_image(12, 12, 3);
  for (int y = 0; y < 12; ++y) {
    for (int x = 0; x < 12; ++x) image.row(y)[x * 3] = std::uint8_t(1 + y * 12 + x);
  }
  Augmentation augmentation;
  augmentation.pad_pixels = 2;
  augmentation.flip_probability = 0;
  std::vector<int> seen(25);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    Random random(3, {i});
    LazyImage lazy{ImageView(image)};
    const Image out = augment_pixels(lazy, augmentation, small(), random);
    const int center = out.row(6)[6 * 3] - 1;  // (6 + dy) · 12 + 6 + dx
    ++seen[(center / 12 - 4) * 5 + center % 12 - 4];
  }
  for (const int count : seen) EXPECT_GT(count, 15);
}

TEST(Augment, DependsOnTheRandomStreamAlone) {
  const Image image = numbered(40, 33, 3);
  Augmentation augmentation;
  augmentation.random_resized_crop = true;
  augmentation.brightness = augmentation.contrast = augmentation.saturation = 0.4;
  augmentation.hue = 0.1;
  std::vector<float> first(small().values()), again(small().values()), other(small().values());
  Random a(5, {1, 2}), b(5, {1, 2}), c(5, {1, 3});
  LazyImage lazy{ImageView(image)};
  augment(lazy, augmentation, small(), a, first.data());
  augment(lazy, augmentation, small(), b, again.data());
  augment(lazy, augmentation, small(), c, other.data());
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
}

TEST(Augment, HalfOfThePicturesAreFlipped) {
  Image image = make_image(12, 12, 3);
  for (int y = 0; y < 12; ++y) image.row(y)[0] = 255;
  int flipped = 0;
  for (std::uint64_t i = 0; i < 400; ++i) {
    Random random(9, {i});
    LazyImage lazy{ImageView(image)};
    flipped += augment_pixels(lazy, Augmentation{}, small(), random).row(0)[0] == 0;
  }
  EXPECT_NEAR(flipped, 200, 40);
}

TEST(Augment, NothingAskedForChangesNothing) {
  const Image image = numbered(12, 12, 3);
  Augmentation augmentation;
  augmentation.flip_probability = 0;
  Random random(2);
  LazyImage lazy{ImageView(image)};
  EXPECT_EQ(augment_pixels(lazy, augmentation, small(), random).pixels, image.pixels);
}

}  // namespace
}  // namespace vretnet::vision
