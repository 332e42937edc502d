#include "datasets/loader.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <set>

#include "core/base/error.h"
#include "datasets/registry.h"
#include "tests/datasets/support.h"
#include "tests/vision/image/jpeg_files.h"

namespace vretnet::datasets {
namespace {

// Everything that a source gave out, to be compared by bytes.
struct Record {
  std::vector<std::int64_t> positions, counts, indices;
  std::vector<std::int32_t> labels;
  std::vector<float> images;

  bool operator==(const Record& other) const {
    // Bytes, not values: a NaN equals itself here, and −0 is not 0.
    return positions == other.positions && counts == other.counts && indices == other.indices &&
           labels == other.labels && images.size() == other.images.size() &&
           std::memcmp(images.data(), other.images.data(), images.size() * sizeof(float)) == 0;
  }
};

Record read_epoch(Loader& loader, const LoaderOptions& options, std::int64_t epoch,
                  std::int64_t first_batch = 0) {
  Record record;
  loader.start_epoch(epoch, first_batch);
  while (const training::Batch* batch = loader.next()) {
    record.positions.push_back(batch->position);
    record.counts.push_back(batch->count);
    record.indices.insert(record.indices.end(), batch->indices, batch->indices + batch->count);
    record.labels.insert(record.labels.end(), batch->labels, batch->labels + batch->count);
    record.images.insert(record.images.end(), batch->images,
                         batch->images + batch->count * std::int64_t(options.preprocessing.values()));
  }
  return record;
}

LoaderOptions small_options(int workers) {
  LoaderOptions options;
  options.batch_size = 7;
  options.workers = workers;
  options.seed = 11;
  options.shuffle = true;
  options.preprocessing.height = 6;
  options.preprocessing.width = 5;
  options.augmentation = vision::Augmentation{
      .random_resized_crop = true, .brightness = 0.3, .contrast = 0.3, .saturation = 0.3, .hue = 0.1};
  return options;
}

class LoaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    write_tree(root_.path(), 3, 10);
    data_ = open_split(root_.path().string(), "all").data;
  }
  TemporaryFolder root_;
  DatasetPointer data_;
};

TEST_F(LoaderTest, BatchesAreTheSameBytesForAnyNumberOfWorkers) {
  Loader plain(data_, small_options(0));
  for (const int workers : {1, 4}) {
    for (const int prefetch : {1, 3}) {
      LoaderOptions options = small_options(workers);
      options.prefetch = prefetch;
      Loader loader(data_, options);
      for (const std::int64_t epoch : {0, 1, 5}) {
        EXPECT_TRUE(read_epoch(loader, options, epoch) == read_epoch(plain, options, epoch))
            << workers << " workers, epoch " << epoch;
      }
    }
  }
}

TEST_F(LoaderTest, EverySampleComesOnceAnEpochInAnotherOrderEachTime) {
  Loader loader(data_, small_options(2));
  EXPECT_EQ(loader.size(), 30);
  EXPECT_EQ(loader.batches(), 5);
  const Record first = read_epoch(loader, small_options(2), 0),
               second = read_epoch(loader, small_options(2), 1);
  EXPECT_EQ(first.counts, (std::vector<std::int64_t>{7, 7, 7, 7, 2}));
  EXPECT_EQ(std::set<std::int64_t>(first.indices.begin(), first.indices.end()).size(), 30u);
  EXPECT_NE(first.indices, second.indices);
  for (std::size_t i = 0; i < 30; ++i) EXPECT_EQ(first.labels[i], data_->label(first.indices[i]));
}

TEST_F(LoaderTest, AugmentationDependsOnTheEpochAndNotOnTheOrder) {
  LoaderOptions sorted = small_options(0);
  sorted.shuffle = false;
  Loader shuffled_loader(data_, small_options(0)), sorted_loader(data_, sorted);
  const Record shuffled = read_epoch(shuffled_loader, sorted, 3),
               straight = read_epoch(sorted_loader, sorted, 3);
  const std::size_t values = sorted.preprocessing.values();
  for (std::size_t i = 0; i < 30; ++i) {
    EXPECT_EQ(
        std::memcmp(&shuffled.images[i * values], &straight.images[std::size_t(shuffled.indices[i]) * values],
                    values * sizeof(float)),
        0);
  }
  EXPECT_NE(read_epoch(sorted_loader, sorted, 4).images, straight.images);
}

TEST_F(LoaderTest, ResumingInTheMiddleGivesTheTail) {
  for (const int workers : {0, 2}) {
    const LoaderOptions options = small_options(workers);
    Loader whole(data_, options), resumed(data_, options);
    const Record all = read_epoch(whole, options, 2), tail = read_epoch(resumed, options, 2, 3);
    ASSERT_EQ(tail.positions, (std::vector<std::int64_t>{3, 4}));
    EXPECT_TRUE(std::equal(tail.indices.begin(), tail.indices.end(), all.indices.end() - 9));
    EXPECT_EQ(std::memcmp(tail.images.data(), all.images.data() + (all.images.size() - tail.images.size()),
                          tail.images.size() * sizeof(float)),
              0);
    resumed.start_epoch(2, 5);  // after the last batch
    EXPECT_EQ(resumed.next(), nullptr);
  }
}

TEST_F(LoaderTest, WithoutAugmentationItIsPreprocessing) {
  LoaderOptions options = small_options(1);
  options.augmentation.reset();
  options.shuffle = false;
  Loader loader(data_, options);
  const Record record = read_epoch(loader, options, 0);
  std::vector<float> expected(options.preprocessing.values());
  vision::preprocess(data_->read(4, 3), options.preprocessing, expected.data());
  EXPECT_EQ(
      std::memcmp(expected.data(), &record.images[4 * expected.size()], expected.size() * sizeof(float)), 0);
}

TEST_F(LoaderTest, DropsTheLastShortBatchWhenAsked) {
  LoaderOptions options = small_options(1);
  options.drop_last = true;
  Loader loader(data_, options);
  EXPECT_EQ(loader.batches(), 4);
  EXPECT_EQ(loader.size(), 28);
  EXPECT_EQ(read_epoch(loader, options, 0).counts, (std::vector<std::int64_t>{7, 7, 7, 7}));
  options.batch_size = 64;  // the only batch is not dropped
  Loader one(data_, options);
  EXPECT_EQ(one.size(), 30);
  EXPECT_EQ(read_epoch(one, options, 0).counts, std::vector<std::int64_t>{30});
}

TEST_F(LoaderTest, CanBeStoppedAndRestartedAtAnyMoment) {
  for (int rounds = 0; rounds < 20; ++rounds) {
    Loader loader(data_, small_options(3));
    if (rounds % 4 == 0) continue;  // destroyed before it began
    loader.start_epoch(0, 0);
    for (int i = 0; i < rounds % 4; ++i) ASSERT_NE(loader.next(), nullptr);
    if (rounds % 2) continue;  // destroyed in the middle
    loader.start_epoch(1, 2);
    ASSERT_NE(loader.next(), nullptr);
    LoaderOptions plain = small_options(0);
    Loader straight(data_, plain);
    EXPECT_TRUE(read_epoch(loader, plain, 1) == read_epoch(straight, plain, 1));
  }
}

TEST_F(LoaderTest, UnreadableSamplesShortenTheirBatchAndAreNamedOnce) {
  write_text(root_ / "class1/image_004.png", "hello");
  write_text(root_ / "class2/image_009.png", "");
  LoaderOptions options = small_options(0);
  Loader plain(data_, options);
  const Record expected = read_epoch(plain, options, 0);
  EXPECT_EQ(expected.indices.size(), 28u);
  ASSERT_EQ(plain.skipped().size(), 2u);
  for (const CacheMode cache : {CacheMode::Off, CacheMode::Ram}) {
    options.workers = 4;
    options.cache = cache;
    Loader loader(data_, options);
    for (int again = 0; again < 3; ++again) EXPECT_TRUE(read_epoch(loader, options, 0) == expected);
    ASSERT_EQ(loader.skipped().size(), 2u);
    for (int i = 0; i < 2; ++i) {
      const auto& skipped = loader.skipped()[std::size_t(i)];
      EXPECT_EQ(skipped.name, plain.skipped()[std::size_t(i)].name);
      EXPECT_EQ(skipped.name, data_->name(skipped.index));
      EXPECT_EQ(skipped.reason.find(skipped.name), std::string::npos) << "the reason repeats the name";
      EXPECT_NE(skipped.reason.find("not an image"), std::string::npos) << skipped.reason;
    }
  }
}

TEST_F(LoaderTest, ABatchWithoutAnyReadableSampleIsPassedOver) {
  for (int i = 0; i < 10; ++i) write_text(root_ / ("class1/image_00" + std::to_string(i) + ".png"), "x");
  LoaderOptions options = small_options(2);
  options.shuffle = false;
  options.batch_size = 5;
  options.max_skip_share = 0.5;
  Loader loader(data_, options);
  EXPECT_EQ(read_epoch(loader, options, 0).positions, (std::vector<std::int64_t>{0, 1, 4, 5}));
}

// Parts of JPEGs are decoded, or parts of decoded pictures taken: the same bytes.
TEST(LoaderJpegs, WorkersAndCachesChangeNothing) {
  TemporaryFolder root;
  for (int i = 0; i < 6; ++i) {
    vision::JpegKind kind;
    kind.progressive = i % 3 == 2;
    kind.orientation = i % 2 ? 6 : 1;
    const auto bytes = vision::make_jpeg(vision::photo_like(150 + i, 120, 3, std::uint64_t(i)), kind);
    write_text(root / ("class" + std::to_string(i % 2)) / (std::to_string(i) + ".jpg"),
               {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  const DatasetPointer data = open_split(root.path().string(), "train", {.val_split = 0}).data;
  LoaderOptions options = small_options(0);
  Loader plain(data, options);
  options.augmentation->reduced_decoding = true;
  Loader reduced(data, options);
  for (const int workers : {1, 3}) {
    for (const CacheMode cache : {CacheMode::Off, CacheMode::Ram}) {
      options = small_options(workers);
      options.cache = cache;
      Loader loader(data, options);
      for (const std::int64_t epoch : {0, 1}) {
        EXPECT_TRUE(read_epoch(loader, options, epoch) == read_epoch(plain, options, epoch)) << workers;
      }
    }
    options = small_options(workers);
    options.augmentation->reduced_decoding = true;
    Loader loader(data, options);
    EXPECT_TRUE(read_epoch(loader, options, 1) == read_epoch(reduced, options, 1)) << workers;
    EXPECT_FALSE(read_epoch(loader, options, 1) == read_epoch(plain, options, 1)) << "not reduced";
    options.cache = CacheMode::Ram;
    EXPECT_THROW(Loader(data, options), UsageError);
  }
}

TEST_F(LoaderTest, TooManyUnreadableSamplesAreAnError) {
  for (int i = 0; i < 10; ++i) write_text(root_ / ("class1/image_00" + std::to_string(i) + ".png"), "x");
  LoaderOptions options = small_options(0);
  Loader few(data_, options);
  EXPECT_EQ(read_epoch(few, options, 0).indices.size(), 20u) << "ten are few, whatever their share";
  write_text(root_ / "class0/image_000.png", "hello");
  options.remedy = "move them";
  options.shuffle = false;
  for (const int workers : {0, 3}) {
    options.workers = workers;
    options.batch_size = 30;
    Loader loader(data_, options);
    const std::string message = message_of<DataError>([&] { read_epoch(loader, options, 0); });
    EXPECT_NE(message.find("11 of 30 images cannot be read, allowed are 10"), std::string::npos) << message;
    EXPECT_NE(message.find("image_000.png"), std::string::npos) << message;
    EXPECT_TRUE(message.ends_with("; move them")) << message;
    EXPECT_EQ(loader.next(), nullptr);
  }
}

TEST_F(LoaderTest, TheShareOfUnreadableSamplesIsAChoice) {
  const auto seen = [&](double share) {
    LoaderOptions options = small_options(0);
    options.max_skip_share = share;
    Loader loader(data_, options);
    return read_epoch(loader, options, 0).indices.size();
  };
  write_text(root_ / "class0/image_000.png", "hello");
  message_of<DataError>([&] { seen(0); });
  for (int i = 0; i < 12; ++i) write_text(data_->name(i), "x");
  EXPECT_EQ(seen(0.4), 18u);
  for (int i = 12; i < 30; ++i) write_text(data_->name(i), "x");
  message_of<DataError>([&] { seen(0.99); });
  EXPECT_EQ(seen(1), 0u);
}

TEST_F(LoaderTest, NothingButUnreadableSamplesIsAnError) {
  TemporaryFolder few;
  write_tree(few.path(), 1, 3);
  const DatasetPointer data = open_split(few.path().string(), "all").data;
  for (int i = 0; i < 3; ++i) write_text(data->name(i), "x");
  const LoaderOptions options = small_options(1);
  Loader loader(data, options);
  message_of<DataError>([&] { read_epoch(loader, options, 0); });
}

// Fails at one sample in a way that is no fault of the picture.
class Failing : public Dataset {
 public:
  std::int64_t size() const override { return 20; }
  const std::vector<std::string>& class_names() const override { return names_; }
  std::int32_t label(std::int64_t) const override { return 0; }
  std::string name(std::int64_t index) const override { return std::to_string(index); }
  vision::Image read(std::int64_t index, int channels) const override {
    if (index == 13) throw std::bad_alloc();
    return noise_image(4, 4, channels, std::uint64_t(index));
  }

 private:
  std::vector<std::string> names_ = {"one"};
};

TEST(Loader, AWorkersExceptionReachesTheConsumerAtItsBatch) {
  for (const int workers : {0, 1, 4}) {
    LoaderOptions options = small_options(workers);
    options.shuffle = false;
    options.batch_size = 4;
    Loader loader(std::make_shared<Failing>(), options);
    loader.start_epoch(0, 0);
    for (int i = 0; i < 3; ++i) ASSERT_NE(loader.next(), nullptr);
    EXPECT_THROW(loader.next(), std::bad_alloc);
    EXPECT_EQ(loader.next(), nullptr);
    loader.start_epoch(0, 4);
    EXPECT_NE(loader.next(), nullptr);
  }
}

TEST(Loader, RefusesSenselessOptions) {
  const auto refused = [](auto change) {
    LoaderOptions options = small_options(1);
    change(options);
    message_of<UsageError>([&] { Loader(std::make_shared<Failing>(), options); });
  };
  refused([](LoaderOptions& options) { options.batch_size = 0; });
  refused([](LoaderOptions& options) { options.workers = -1; });
  refused([](LoaderOptions& options) { options.workers = 100000; });
  refused([](LoaderOptions& options) { options.prefetch = 0; });
}

TEST(EpochOrder, IsAPermutationOfSeedAndEpoch) {
  const auto order = epoch_order(1000, 3, 1, true);
  EXPECT_EQ(std::set<std::int64_t>(order.begin(), order.end()).size(), 1000u);
  EXPECT_EQ(epoch_order(1000, 3, 1, true), order);
  EXPECT_NE(epoch_order(1000, 3, 2, true), order);
  EXPECT_NE(epoch_order(1000, 4, 1, true), order);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()) == false);
  const auto straight = epoch_order(10, 3, 1, false);
  EXPECT_TRUE(std::is_sorted(straight.begin(), straight.end()));
}

}  // namespace
}  // namespace vretnet::datasets
