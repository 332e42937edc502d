// Every operation of RandAugment gives the pixels of timm and Pillow, to the last bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "tests/goldens/golden_file.h"
#include "vision/image/rand_augment.h"

namespace vretnet::goldens {
namespace {

vision::Image image_of(const GoldenFile& golden, const std::string& name) {
  const model::StoredTensor& stored = golden.file().at(name);
  vision::Image image = vision::make_image(int(stored.shape[1]), int(stored.shape[0]), int(stored.shape[2]));
  EXPECT_EQ(stored.type, model::StoredType::U8);
  EXPECT_EQ(stored.bytes.size(), image.pixels.size());
  std::memcpy(image.pixels.data(), stored.bytes.data(), stored.bytes.size());
  return image;
}

vision::AugmentOperation operation_of(const std::string& name) {
  const auto& names = vision::kAugmentOperationNames;
  const auto found = std::find(names.begin(), names.end(), name);
  EXPECT_NE(found, names.end()) << name;
  return static_cast<vision::AugmentOperation>(found - names.begin());
}

TEST(AugmentGolden, OperationsGiveThePixelsOfTimm) {
  const GoldenFile golden("augment");
  const auto colour = golden.json("fill").get<std::vector<std::uint8_t>>();
  std::set<std::string> operations;
  for (const nlohmann::json& test : golden.json("cases")) {
    SCOPED_TRACE(test.dump());
    const vision::Image before = image_of(golden, "input." + test["input"].get<std::string>());
    const vision::AugmentOperation operation = operation_of(test["operation"]);
    operations.insert(test["operation"]);
    const double argument =
        vision::operation_argument(operation, test["magnitude"], test["increasing"], test["opposite"]);
    vision::Image found = before;
    vision::apply_operation(
        found, operation, argument,
        test["interpolation"] == "bicubic" ? vision::Interpolation::Bicubic : vision::Interpolation::Bilinear,
        {colour.data(), std::size_t(before.channels)});
    const vision::Image expected = image_of(golden, test["name"]);
    int different = 0, largest = 0;
    ASSERT_EQ(found.pixels.size(), expected.pixels.size());
    for (std::size_t i = 0; i < expected.pixels.size(); ++i) {
      different += found.pixels[i] != expected.pixels[i];
      largest = std::max(largest, std::abs(int(found.pixels[i]) - int(expected.pixels[i])));
    }
    EXPECT_EQ(different, 0) << "by up to " << largest;
  }
  EXPECT_EQ(operations.size(), std::size_t(vision::kAugmentOperations));
}

}  // namespace
}  // namespace vretnet::goldens
