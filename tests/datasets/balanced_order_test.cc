// Balanced epochs: how often classes and samples come.
#include "datasets/balanced_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "datasets/loader.h"
#include "datasets/registry.h"
#include "tests/datasets/support.h"

namespace vretnet::datasets {
namespace {

// 70 of class 0, 20 of class 1, 3 of class 4; classes 2 and 3 have none.
std::vector<std::int32_t> unequal_labels() {
  std::vector<std::int32_t> labels(93, 0);
  std::fill(labels.begin() + 70, labels.begin() + 90, 1);
  std::fill(labels.begin() + 90, labels.end(), 4);
  return labels;
}

TEST(BalancedOrder, ClassesComeAsOften) {
  std::vector<std::int32_t> labels = unequal_labels();
  labels.push_back(0);  // 94 is no multiple of 3
  for (std::int64_t epoch = 0; epoch < 5; ++epoch) {
    const BalancedOrder order = balanced_order(labels, 7, epoch);
    ASSERT_EQ(order.indices.size(), labels.size());
    ASSERT_EQ(order.visits.size(), labels.size());
    std::map<std::int32_t, int> counts;
    for (const std::int64_t index : order.indices) ++counts[labels[std::size_t(index)]];
    ASSERT_EQ(counts.size(), 3u);
    for (const auto& [label, count] : counts)
      EXPECT_TRUE(count == 31 || count == 32) << label << ": " << count;
  }
}

// Over epochs, the samples of a class differ by one visit at most, and a (sample, visit) never comes twice.
TEST(BalancedOrder, SamplesOfAClassComeAsOften) {
  const std::vector<std::int32_t> labels = unequal_labels();
  std::vector<int> counts(labels.size());
  std::set<std::pair<std::int64_t, std::int64_t>> seen;
  for (std::int64_t epoch = 0; epoch < 9; ++epoch) {
    const BalancedOrder order = balanced_order(labels, 7, epoch);
    for (std::size_t i = 0; i < order.indices.size(); ++i) {
      EXPECT_EQ(order.visits[i] >= 0, true);
      EXPECT_TRUE(seen.emplace(order.indices[i], order.visits[i]).second);
      ++counts[std::size_t(order.indices[i])];
    }
    for (const auto& [begin, end] : {std::pair{0, 70}, {70, 90}, {90, 93}}) {
      const auto [least, most] = std::minmax_element(counts.begin() + begin, counts.begin() + end);
      EXPECT_LE(*most - *least, 1);
    }
  }
}

TEST(BalancedOrder, IsAFunctionOfSeedAndEpoch) {
  const auto indices = [](std::uint64_t seed, std::int64_t epoch) {
    return balanced_order(unequal_labels(), seed, epoch).indices;
  };
  EXPECT_EQ(indices(1, 2), indices(1, 2));
  EXPECT_NE(indices(1, 2), indices(1, 3));
  EXPECT_NE(indices(1, 2), indices(2, 2));
  EXPECT_TRUE(balanced_order({}, 1, 0).indices.empty());
}

// Everything that is random at once: bytes do not depend on the workers, nor on where an epoch began.
TEST(BalancedLoader, GivesTheSameBytesForAnyNumberOfWorkers) {
  TemporaryFolder root;
  write_tree(root.path(), 3, 10);
  for (int i = 2; i < 10; ++i)
    std::filesystem::remove(root / ("class1/image_00" + std::to_string(i) + ".png"));
  const DatasetPointer data = open_split(root.path().string(), "all").data;
  LoaderOptions options;
  options.batch_size = 7;
  options.seed = 11;
  options.shuffle = options.balanced = true;
  options.preprocessing.height = 6;
  options.preprocessing.width = 5;
  options.augmentation = vision::Augmentation{.random_resized_crop = true, .brightness = 0.3};
  options.augmentation->rand_augment = vision::parse_rand_augment("rand-m9-n2-mstd0.5-inc1");
  options.augmentation->erasing.probability = 0.5;
  struct Record {
    std::vector<std::int64_t> indices;
    std::vector<float> images;
  };
  const auto read = [&](int workers, std::int64_t epoch, std::int64_t first_batch) {
    options.workers = workers;
    Loader loader(data, options);
    loader.start_epoch(epoch, first_batch);
    Record record;
    while (const training::Batch* batch = loader.next()) {
      record.indices.insert(record.indices.end(), batch->indices, batch->indices + batch->count);
      record.images.insert(record.images.end(), batch->images,
                           batch->images + batch->count * std::int64_t(options.preprocessing.values()));
    }
    return record;
  };
  const Record plain = read(0, 3, 0);
  for (const int workers : {1, 4}) {
    const Record other = read(workers, 3, 0);
    EXPECT_EQ(other.indices, plain.indices);
    ASSERT_EQ(other.images.size(), plain.images.size());
    EXPECT_EQ(std::memcmp(other.images.data(), plain.images.data(), plain.images.size() * sizeof(float)), 0);
  }
  const Record tail = read(2, 3, 2);
  ASSERT_EQ(tail.indices.size() + 14, plain.indices.size());
  EXPECT_TRUE(std::equal(tail.indices.begin(), tail.indices.end(), plain.indices.begin() + 14));
  EXPECT_EQ(std::memcmp(tail.images.data(), plain.images.data() + 14 * options.preprocessing.values(),
                        tail.images.size() * sizeof(float)),
            0);

  // A sample that comes again in an epoch has another augmentation.
  const std::size_t values = options.preprocessing.values();
  std::map<std::int64_t, std::vector<std::vector<float>>> of_sample;
  for (std::size_t i = 0; i < plain.indices.size(); ++i) {
    const auto begin = plain.images.begin() + std::ptrdiff_t(i * values);
    of_sample[plain.indices[i]].emplace_back(begin, begin + std::ptrdiff_t(values));
  }
  int repeated = 0;
  for (const auto& [index, pictures] : of_sample) {
    for (std::size_t i = 1; i < pictures.size(); ++i, ++repeated) EXPECT_NE(pictures[i - 1], pictures[i]);
  }
  EXPECT_GT(repeated, 3);
}

}  // namespace
}  // namespace vretnet::datasets
