#include "datasets/registry.h"

#include <algorithm>
#include <set>

#include "core/base/error.h"
#include "datasets/subset.h"
#include "tests/datasets/support.h"

namespace vretnet::datasets {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> names_of(const Dataset& dataset) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < dataset.size(); ++i) names.push_back(dataset.name(i));
  return names;
}

TEST(StratifiedSplit, TakesTheShareOfEveryClassAndNothingTwice) {
  std::vector<std::int32_t> labels;
  for (int i = 0; i < 100; ++i) labels.push_back(i % 3 == 0 ? 0 : 1);  // 34 and 66
  labels.push_back(2);                                                 // a single one
  labels.push_back(3);
  labels.push_back(3);
  const SplitIndices parts = stratified_split(labels, 0.1, 5);
  std::vector<int> taken(4);
  for (const std::int64_t i : parts.second) ++taken[std::size_t(labels[std::size_t(i)])];
  EXPECT_EQ(taken, (std::vector<int>{3, 7, 0, 1}));
  std::set<std::int64_t> all(parts.first.begin(), parts.first.end());
  all.insert(parts.second.begin(), parts.second.end());
  EXPECT_EQ(all.size(), labels.size());
  EXPECT_EQ(parts.first.size() + parts.second.size(), labels.size());
  EXPECT_EQ(stratified_split(labels, 0.1, 5).second, parts.second);
  EXPECT_NE(stratified_split(labels, 0.1, 6).second, parts.second);
  EXPECT_TRUE(stratified_split(labels, 0, 5).second.empty());
  EXPECT_TRUE(stratified_split(labels, 1, 5).first.empty());
}

TEST(StratifiedLimit, KeepsProportions) {
  std::vector<std::int32_t> labels(60, 0);
  labels.resize(90, 1);
  labels.resize(100, 2);
  std::vector<int> taken(3);
  const auto chosen = stratified_limit(labels, 11, 1);
  ASSERT_EQ(chosen.size(), 11u);
  EXPECT_TRUE(std::is_sorted(chosen.begin(), chosen.end()));
  for (const std::int64_t i : chosen) ++taken[std::size_t(labels[std::size_t(i)])];
  EXPECT_EQ(taken, (std::vector<int>{7, 3, 1}));  // 6.6, 3.3, 1.1: the remainder goes to the first
  EXPECT_EQ(stratified_limit(labels, 1000, 1).size(), 100u);
}

TEST(OpenData, SplitsAFlatFolder) {
  TemporaryFolder root;
  write_tree(root / "photos", 3, 10);
  const DataSplits splits = open_data((root / "photos").string() + "/", {.val_split = 0.2, .seed = 1});
  EXPECT_EQ(splits.description, "photos: train 24 (3 classes), val 6");
  EXPECT_EQ(class_counts(*splits.val), (std::vector<std::int64_t>{2, 2, 2}));
  auto names = names_of(*splits.train);
  const auto val_names = names_of(*splits.val);
  names.insert(names.end(), val_names.begin(), val_names.end());
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 30u);
  EXPECT_EQ(names_of(*open_data((root / "photos").string(), {.val_split = 0.2, .seed = 1}).val), val_names);
  EXPECT_NE(names_of(*open_data((root / "photos").string(), {.val_split = 0.2, .seed = 2}).val), val_names);
  EXPECT_EQ(open_data((root / "photos").string(), {.val_split = 0}).val, nullptr);
  EXPECT_EQ(open_split((root / "photos").string(), "all").data->size(), 30);
}

TEST(OpenData, UsesTheValidationFolderAndLimits) {
  TemporaryFolder root;
  write_tree(root / "train", 3, 8);
  write_tree(root / "val", 2, 4);
  write_text(root / "train/class0/phone.heic", "x");
  const DataSplits splits = open_data(root.path().string(), {.limit_train = 6, .limit_val = 2});
  EXPECT_EQ(class_counts(*splits.train), (std::vector<std::int64_t>{2, 2, 2}));
  EXPECT_EQ(class_counts(*splits.val), (std::vector<std::int64_t>{1, 1, 0}));
  EXPECT_EQ(splits.passed_over, std::vector<std::string>{(root / "train/class0/phone.heic").string()});
  EXPECT_EQ(open_split(root.path().string(), "val").data->size(), 8);
  EXPECT_EQ(open_split(root.path().string(), "val").part, "val");
  const std::string message = message_of<UsageError>([&] { open_split(root.path().string(), "test"); });
  EXPECT_NE(message.find("it has: train, val"), std::string::npos) << message;
}

// What eval measures is what training kept for validation.
TEST(OpenSplit, DividesAsTrainingDoes) {
  TemporaryFolder root;
  write_tree(root / "flat", 3, 10);
  write_tree(root / "half/train", 2, 10);
  for (const char* layout : {"flat", "half"}) {
    const std::string folder = (root / layout).string();
    const DataOptions options{.val_split = 0.2, .seed = 1};
    const DataSplits splits = open_data(folder, options);
    for (const bool validation : {false, true}) {
      const OpenedSplit opened = open_split(folder, validation ? "val" : "train", options);
      EXPECT_EQ(names_of(*opened.data), names_of(validation ? *splits.val : *splits.train)) << layout;
      EXPECT_EQ(opened.part,
                validation ? "val: 20 % of each class, seed 1" : "train: 80 % of each class, seed 1");
    }
    EXPECT_EQ(open_split(folder, "all", options).data->size(), splits.train->size() + splits.val->size());
    EXPECT_EQ(open_split(folder, "train", {.val_split = 0}).part, "train");
    const std::string message = message_of<UsageError>([&] { open_split(folder, "val", {.val_split = 0}); });
    EXPECT_NE(message.find("no split 'val'; it has: all, train"), std::string::npos) << message;
  }
  write_tree(root / "single", 2, 1);
  const std::string message = message_of<DataError>([&] { open_split((root / "single").string(), "val"); });
  EXPECT_NE(message.find("no images in 'val: 10 % of each class, seed 42'"), std::string::npos) << message;
}

TEST(OpenData, SaysWhatWasMeant) {
  TemporaryFolder root;
  write_tree(root / "photos", 1, 1);
  const std::string wrong = (root / "photo").string();
  const std::string message = message_of<UsageError>([&] { open_data(wrong); });
  EXPECT_EQ(message, "'" + wrong + "' does not exist. Did you mean '" + wrong + "s'?");
  EXPECT_NE(message_of<UsageError>([] { open_data("fashion-minst"); }).find("'fashion-mnist'"),
            std::string::npos);
  write_text(root / "file", "x");
  EXPECT_NE(message_of<UsageError>([&] { open_data((root / "file").string()); }).find("not a folder"),
            std::string::npos);
  message_of<UsageError>([&] { open_data((root / "photos").string(), {.val_split = 1.5}); });
  fs::create_directories(root / "empty");
  message_of<DataError>([&] { open_data((root / "empty").string()); });
}

TEST(WithClassNames, MatchesAModelsClassesByName) {
  TemporaryFolder root;
  write_tree(root.path(), 2, 2);
  const DatasetPointer data = open_split(root.path().string(), "all").data;
  const DatasetPointer renamed = with_class_names(data, {"other", "class1", "class0"});
  EXPECT_EQ(renamed->label(0), 2);
  EXPECT_EQ(renamed->label(3), 1);
  EXPECT_EQ(renamed->class_names().size(), 3u);
  const std::string message = message_of<DataError>([&] { with_class_names(data, {"class0", "clas1"}); });
  EXPECT_NE(message.find("'class1'"), std::string::npos) << message;
}

}  // namespace
}  // namespace vretnet::datasets
