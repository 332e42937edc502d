// Decoding, resizing, cropping, normalising and colour changes against Pillow and torchvision on odd images:
// see tests/data/images/make_parity_goldens.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/test_images.h"
#include "vision/image/color.h"
#include "vision/image/decode.h"
#include "vision/image/resize.h"
#include "vision/image/transforms.h"

namespace vretnet::vision {
namespace {

using vretnet::testing::kTestImages;

using Json = nlohmann::json;

struct Goldens {
  Json index;
  std::string bytes;
};

const Goldens& goldens() {
  static const Goldens all = [] {
    std::ifstream index(kTestImages / "goldens.json"), binary(kTestImages / "goldens.bin", std::ios::binary);
    return Goldens{Json::parse(index), {std::istreambuf_iterator<char>(binary), {}}};
  }();
  return all;
}

Image golden_image(const Json& output) {
  Image image = make_image(output["width"], output["height"], 3);
  const std::size_t offset = output["offset"];
  std::memcpy(image.pixels.data(), goldens().bytes.data() + offset, image.pixels.size());
  return image;
}

Interpolation interpolation_of(const Json& output) {
  return output["interpolation"] == "bicubic" ? Interpolation::Bicubic : Interpolation::Bilinear;
}

// Calls test(image decoded by us, what Pillow decoded, output) for all outputs of `kind`; returns their
// number.
template <class Test>
int for_each(const std::string& kind, Test test) {
  int count = 0;
  for (const Json& entry : goldens().index["images"]) {
    const std::string file = entry["file"];
    SCOPED_TRACE(file);
    const Image decoded_by_pillow = golden_image(entry["outputs"][0]);
    for (const Json& output : entry["outputs"]) {
      if (output["kind"] != kind) continue;
      SCOPED_TRACE(output.dump());
      test(read_image(kTestImages / file), decoded_by_pillow, output);
      ++count;
    }
  }
  return count;
}

int largest_difference(const Image& a, const Image& b) {
  if (a.width != b.width || a.height != b.height || a.channels != b.channels) return 256;
  int largest = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    largest = std::max(largest, std::abs(int(a.pixels[i]) - int(b.pixels[i])));
  }
  return largest;
}

TEST(Parity, DecodedPixelsAreEqual) {
  EXPECT_GE(for_each("decode", [](const Image& ours, const Image& pillow,
                                  const Json&) { EXPECT_EQ(largest_difference(ours, pillow), 0); }),
            12);
}

TEST(Parity, ResizedPixelsAreEqual) {
  EXPECT_GE(for_each("resize",
                     [](const Image&, const Image& pillow, const Json& output) {
                       const Image expected = golden_image(output);
                       EXPECT_EQ(largest_difference(resize(pillow, expected.width, expected.height,
                                                           interpolation_of(output)),
                                                    expected),
                                 0);
                     }),
            48);
}

TEST(Parity, ResizedBoxesAreEqual) {
  EXPECT_GE(for_each("resize_box",
                     [](const Image&, const Image& pillow, const Json& output) {
                       const Image expected = golden_image(output);
                       const auto& box = output["box"];
                       EXPECT_EQ(largest_difference(
                                     resize(pillow, Box{box[0], box[1], box[2], box[3]}, expected.width,
                                            expected.height, interpolation_of(output)),
                                     expected),
                                 0);
                     }),
            24);
}

TEST(Parity, ResizedCropsAreEqual) {
  EXPECT_GE(
      for_each(
          "resized_crop",
          [](const Image&, const Image& pillow, const Json& output) {
            const Image expected = golden_image(output);
            const Rectangle area{output["left"], output["top"], output["crop_width"], output["crop_height"]};
            EXPECT_EQ(largest_difference(resize(ImageView(pillow).part(area), expected.width, expected.height,
                                                interpolation_of(output)),
                                         expected),
                      0);
          }),
      24);
}

TEST(Parity, PreprocessedFloatsAreEqual) {
  const int count = for_each("preprocess", [](const Image& ours, const Image&, const Json& output) {
    Preprocessing preprocessing;
    preprocessing.height = output["height"];
    preprocessing.width = output["width"];
    preprocessing.crop_fraction = output["crop_fraction"];
    preprocessing.interpolation = interpolation_of(output);
    preprocessing.mean = goldens().index["mean"].get<std::vector<float>>();
    preprocessing.deviation = goldens().index["deviation"].get<std::vector<float>>();
    std::vector<float> values(preprocessing.values()), expected(preprocessing.values());
    const std::size_t offset = output["offset"];
    std::memcpy(expected.data(), goldens().bytes.data() + offset, expected.size() * sizeof(float));
    preprocess(ours, preprocessing, values.data());
    EXPECT_EQ(values, expected);
  });
  EXPECT_GE(count, 24);
}

TEST(Parity, ColourChangesAreEqual) {
  const auto compare = [](const std::string& kind, auto change) {
    const int count = for_each(kind, [&](const Image&, const Image& pillow, const Json& output) {
      const Image expected = golden_image(output);
      Image image = crop(pillow, {0, 0, expected.width, expected.height});
      change(image, output["factor"].get<double>());
      EXPECT_EQ(largest_difference(image, expected), 0);
    });
    EXPECT_EQ(count, 4);
  };
  compare("brightness", [](Image& image, double factor) { adjust_brightness(image, float(factor)); });
  compare("contrast", [](Image& image, double factor) { adjust_contrast(image, float(factor)); });
  compare("saturation", [](Image& image, double factor) { adjust_saturation(image, float(factor)); });
  compare("hue", [](Image& image, double factor) { adjust_hue(image, factor); });
}

}  // namespace
}  // namespace vretnet::vision
