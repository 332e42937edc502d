#include "core/base/did_you_mean.h"

#include <gtest/gtest.h>

namespace vretnet {
namespace {

TEST(DidYouMean, DistanceCountsEdits) {
  EXPECT_EQ(edit_distance("photos", "photos"), 0);
  EXPECT_EQ(edit_distance("photo", "photos"), 1);
  EXPECT_EQ(edit_distance("pohtos", "photos"), 1);  // exchanged neighbours are one edit
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("Train", "train"), 0);
}

TEST(DidYouMean, NamesTheNearestOfTheKnown) {
  const std::vector<std::string> commands = {"train", "eval", "predict", "bench", "info"};
  EXPECT_EQ(closest_word("trian", commands), "train");
  EXPECT_EQ(closest_word("predcit", commands), "predict");
  EXPECT_EQ(closest_word("pred", commands), "predict");  // a beginning
  EXPECT_EQ(closest_word("quantize", commands), "");
  EXPECT_EQ(closest_word("x", commands), "");
  EXPECT_EQ(closest_word("b", {"m"}), "");
  EXPECT_EQ(closest_word("", commands), "");
  EXPECT_EQ(did_you_mean("photo", {"photos"}), " Did you mean 'photos'?");
  EXPECT_EQ(did_you_mean("photo", {}), "");
}

}  // namespace
}  // namespace vretnet
