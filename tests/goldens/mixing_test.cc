// Cutmix's boxes, corrected shares and smoothed soft targets are those of timm.
#include "core/training/mixing.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/goldens/golden_file.h"

namespace vretnet::goldens {
namespace {

TEST(MixingGolden, BoxesAndSharesAreThoseOfTimm) {
  const GoldenFile golden("mixing");
  const nlohmann::json boxes = golden.json("boxes");
  EXPECT_EQ(boxes.size(), 6u);
  for (const nlohmann::json& test : boxes) {
    SCOPED_TRACE(test.dump());
    const training::CutBox box =
        training::cut_box(test["height"], test["width"], test["share"], test["y"], test["x"]);
    EXPECT_EQ(box, (training::CutBox{test["top"], test["bottom"], test["left"], test["right"]}));
    EXPECT_EQ(training::share_outside(box, test["height"], test["width"]), test["corrected"].get<double>());
  }
}

TEST(MixingGolden, SmoothedTargetsAreThoseOfTimm) {
  const GoldenFile golden("mixing");
  const auto labels = golden.json("labels").get<std::vector<std::int32_t>>();
  const auto classes = golden.json("classes").get<std::int64_t>();
  const auto smoothing = golden.json("smoothing").get<double>();
  std::vector<std::int32_t> others(labels.rbegin(), labels.rend());
  const training::Batch batch{.count = static_cast<std::int64_t>(labels.size()),
                              .labels = labels.data(),
                              .other_labels = others.data(),
                              .own_share = golden.json("share").get<float>()};
  std::vector<float> targets(labels.size() * static_cast<std::size_t>(classes));
  training::fill_targets(batch, classes, targets);
  // The rest is ops::CrossEntropy's: t = (1 − smoothing) · targets + smoothing · (Σ targets) / classes.
  std::vector<double> smoothed;
  for (const float target : targets) {
    smoothed.push_back((1 - smoothing) * target + smoothing / static_cast<double>(classes));
  }
  expect_close(smoothed, golden.values("targets"), 4 * 0x1p-24, "targets");  // timm computes in float32
}

}  // namespace
}  // namespace vretnet::goldens
