#include "datasets/cache.h"

#include <algorithm>
#include <atomic>

#include "core/base/error.h"
#include "tests/datasets/support.h"

namespace vretnet::datasets {
namespace {

// Counts how often each sample is decoded; sample 3 cannot be.
class Counting : public Dataset {
 public:
  std::int64_t size() const override { return 8; }
  const std::vector<std::string>& class_names() const override { return names_; }
  std::int32_t label(std::int64_t) const override { return 0; }
  std::string name(std::int64_t index) const override { return std::to_string(index); }
  vision::Image read(std::int64_t index, int channels) const override {
    ++reads;
    if (index == 3) throw DataError("3: broken");
    return noise_image(10, 10, channels, std::uint64_t(index));
  }
  mutable std::atomic<int> reads{0};

 private:
  std::vector<std::string> names_ = {"one"};
};

void read_all(const Dataset& dataset, int channels) {
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    if (i == 3) {
      EXPECT_EQ(message_of<DataError>([&] { dataset.read(i, channels); }), "3: broken");
    } else {
      EXPECT_EQ(dataset.read(i, channels).pixels, noise_image(10, 10, channels, std::uint64_t(i)).pixels);
    }
  }
}

TEST(Cache, DecodesOnceAndGivesTheSamePixelsAndErrors) {
  const auto source = std::make_shared<Counting>();
  const DatasetPointer dataset = cached(source, CacheMode::Ram);
  for (int again = 0; again < 3; ++again) read_all(*dataset, 3);
  EXPECT_EQ(source->reads, 8);
  EXPECT_EQ(dataset->read(0, 1).channels, 1);  // grey is made of the colours that are there
  EXPECT_EQ(source->reads, 8);
}

TEST(Cache, GreyPicturesDoNotStandInForColours) {
  const auto source = std::make_shared<Counting>();
  const DatasetPointer dataset = cached(source, CacheMode::Ram);
  read_all(*dataset, 1);
  read_all(*dataset, 3);
}

TEST(Cache, KeepsNoMoreThanItsBudget) {
  const auto source = std::make_shared<Counting>();
  const DatasetPointer dataset =
      cached(source, CacheMode::Auto, 3 * 400);  // 300 bytes of pixels each, and a header
  read_all(*dataset, 3);
  const int first = source->reads;
  read_all(*dataset, 3);
  const int again = source->reads - first;
  EXPECT_EQ(first, 8);
  EXPECT_GE(again, 4);
  EXPECT_LE(again, 6);
}

TEST(Cache, OpensWhatItHasWithoutReadingAgain) {
  const auto source = std::make_shared<Counting>();
  const DatasetPointer dataset = cached(source, CacheMode::Ram);
  for (int again = 0; again < 2; ++again) {
    for (std::int64_t i = 0; i < dataset->size(); ++i) {
      if (i == 3) {
        EXPECT_EQ(message_of<DataError>([&] { dataset->open(i, 3); }), "3: broken");
        continue;
      }
      vision::LazyImage image = dataset->open(i, 3);
      EXPECT_EQ(image.size(), (vision::Size{10, 10}));
      const vision::ImageView pixels = image.read({2, 5, 8, 5}).pixels;
      const vision::Image expected = noise_image(10, 10, 3, std::uint64_t(i));
      for (int y = 0; y < 5; ++y) {
        EXPECT_TRUE(std::equal(pixels.row(y), pixels.row(y) + 24, expected.row(5 + y) + 6));
      }
    }
  }
  EXPECT_EQ(source->reads, 8);
  EXPECT_EQ(dataset->open(0, 1).read({0, 0, 10, 10}).pixels.channels, 1);
  EXPECT_EQ(source->reads, 8);
}

TEST(Cache, OpensWhatDidNotFit) {
  const auto source = std::make_shared<Counting>();
  const DatasetPointer dataset = cached(source, CacheMode::Auto, 3 * 400);
  for (int again = 0; again < 2; ++again) {
    for (const std::int64_t i : {0, 1, 2, 4, 5, 6, 7}) {
      EXPECT_EQ(dataset->open(i, 3).read({0, 0, 10, 1}).pixels.row(0)[0],
                noise_image(10, 10, 3, std::uint64_t(i)).pixels[0]);
    }
  }
  EXPECT_GT(source->reads, 8);
}

TEST(Cache, OffIsTheDataSetItself) {
  const DatasetPointer source = std::make_shared<Counting>();
  EXPECT_EQ(cached(source, CacheMode::Off), source);
  EXPECT_EQ(parse_cache_mode("ram"), CacheMode::Ram);
  EXPECT_NE(message_of<UsageError>([] { parse_cache_mode("rma"); }).find("Did you mean 'ram'?"),
            std::string::npos);
  EXPECT_GT(available_memory(), 0);
}

}  // namespace
}  // namespace vretnet::datasets
