// Learned positions on another grid are those of timm.
#include <gtest/gtest.h>

#include "tests/goldens/golden_file.h"
#include "tests/goldens/golden_random.h"
#include "vision/transfer.h"

namespace vretnet::goldens {
namespace {

// timm computes in float32: against torch in double these goldens are off by up to 1.07e-6 of the largest
// value.
constexpr double kResampleTolerance = 2e-6;

TEST(ResampleGolden, PositionsAreThoseOfTimm) {
  const GoldenFile golden("resample");
  const nlohmann::json cases = golden.json("cases");
  EXPECT_EQ(cases.size(), 3u);
  for (const nlohmann::json& test : cases) {
    const auto grid = [&](const char* key) { return vision::Grid{test[key][0], test[key][1]}; };
    const std::int64_t prefix = test["prefix"], width = test["width"];
    const vision::Grid from = grid("old"), to = grid("new");
    std::vector<float> positions(static_cast<std::size_t>((prefix + from.rows * from.columns) * width));
    fill_tensor<float>(golden.seed(), test["number"], positions);
    const std::vector<float> found = vision::resample_positions(positions, prefix, from, to);
    expect_close({found.begin(), found.end()}, golden.values(test["name"]), kResampleTolerance, test["name"]);
  }
}

}  // namespace
}  // namespace vretnet::goldens
