#include "datasets/idx.h"

#include <algorithm>

#include "core/base/error.h"
#include "datasets/registry.h"
#include "tests/datasets/support.h"

namespace vretnet::datasets {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kImages = 0x803, kLabels = 0x801;

std::string ramp(int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes += char(i * 7);
  return bytes;
}

class Idx : public ::testing::Test {
 protected:
  // Six pictures of 3 × 2 and their labels.
  void write_good(const fs::path& folder) {
    write_text(folder / "train-images-idx3-ubyte.gz", gzipped(idx_bytes(kImages, {6, 2, 3}, ramp(36))));
    write_text(folder / "train-labels-idx1-ubyte.gz", gzipped(idx_bytes(kLabels, {6}, {0, 1, 2, 0, 1, 2})));
  }
  std::string images_error(const std::string& bytes) {
    write_text(root_ / "bad", bytes);
    return message_of<DataError>([&] { read_idx_images(root_ / "bad"); });
  }
  TemporaryFolder root_;
};

TEST_F(Idx, ReadsGzippedAndPlainFiles) {
  write_good(root_.path());
  write_text(root_ / "t10k-images.idx3-ubyte", idx_bytes(kImages, {1, 2, 3}, ramp(6)));
  write_text(root_ / "t10k-labels.idx1-ubyte", idx_bytes(kLabels, {1}, {2}));
  const DataSplits splits = open_data(root_.path().string());
  EXPECT_EQ(splits.class_names, (std::vector<std::string>{"0", "1", "2"}));
  ASSERT_EQ(splits.train->size(), 6);
  ASSERT_TRUE(splits.val);
  ASSERT_EQ(splits.val->size(), 1);
  EXPECT_EQ(splits.val->label(0), 2);
  EXPECT_EQ(splits.train->name(4), "train-images-idx3-ubyte.gz#4");
  const vision::Image grey = splits.train->read(1, 1), colour = splits.train->read(1, 3);
  EXPECT_EQ(grey.width, 3);
  EXPECT_EQ(grey.height, 2);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(grey.pixels[std::size_t(i)], std::uint8_t((6 + i) * 7));
    for (int c = 0; c < 3; ++c) EXPECT_EQ(colour.pixels[std::size_t(i * 3 + c)], std::uint8_t((6 + i) * 7));
  }
}

TEST_F(Idx, RefusesDamagedFiles) {
  const std::string good = idx_bytes(kImages, {6, 2, 3}, ramp(36)), packed = gzipped(good);
  EXPECT_NE(images_error(idx_bytes(0x0d03, {6, 2, 3}, ramp(36))).find("0x00000d03"), std::string::npos);
  EXPECT_NE(images_error(idx_bytes(kLabels, {6}, ramp(36))).find("not IDX images"), std::string::npos);
  EXPECT_NE(images_error(good.substr(0, good.size() - 1)).find("35 of the 36"), std::string::npos);
  EXPECT_NE(images_error(good + "x").find("longer than the 36"), std::string::npos);
  EXPECT_NE(images_error(gzipped(good + "x")).find("longer"), std::string::npos);
  EXPECT_NE(images_error("").find("ends within its header"), std::string::npos);
  EXPECT_NE(images_error(good.substr(0, 9)).find("ends within its header"), std::string::npos);
  // Claims that would take terabytes are refused before any memory is taken.
  EXPECT_NE(images_error(idx_bytes(kImages, {0xffffffff, 0xffff, 0xffff}, "x")).find("cannot hold"),
            std::string::npos);
  EXPECT_NE(images_error(idx_bytes(kImages, {0, 2, 3}, "")).find("cannot hold"), std::string::npos);
  // A plain file holds no more than its size; a packed one may.
  EXPECT_NE(images_error(idx_bytes(kImages, {500, 2, 3}, "x")).find("cannot hold"), std::string::npos);
  EXPECT_NE(images_error(gzipped(idx_bytes(kImages, {500, 2, 3}, "x"))).find("1 of the 3000"),
            std::string::npos);
  // Every truncation of a gzip stream, and a changed byte of its checksum.
  for (std::size_t length = 0; length < packed.size(); ++length) images_error(packed.substr(0, length));
  std::string flipped = packed;
  flipped[flipped.size() - 6] = char(flipped[flipped.size() - 6] ^ 1);
  EXPECT_NE(images_error(flipped).find("damaged"), std::string::npos);
}

TEST_F(Idx, LabelsMustBeInRangeAndAsManyAsImages) {
  write_good(root_.path());
  const fs::path labels = root_ / "train-labels-idx1-ubyte.gz";
  const auto error = [&] { return message_of<DataError>([&] { open_data(root_.path().string()); }); };
  write_text(labels, gzipped(idx_bytes(kLabels, {6}, {0, 1, 2, 0, char(200), 2})));
  EXPECT_NE(error().find("#4: label 200, expected 0 … 3"), std::string::npos) << error();
  write_text(labels, gzipped(idx_bytes(kLabels, {5}, {0, 1, 2, 0, 1})));
  EXPECT_NE(error().find("5 labels for 6 images"), std::string::npos) << error();
  fs::remove(labels);
  EXPECT_NE(error().find("without their labels"), std::string::npos) << error();
}

TEST_F(Idx, ValidationLabelsMustBeTrained) {
  write_good(root_.path());
  write_text(root_ / "t10k-images-idx3-ubyte", idx_bytes(kImages, {1, 2, 3}, ramp(6)));
  write_text(root_ / "t10k-labels-idx1-ubyte", idx_bytes(kLabels, {1}, {3}));
  const std::string message = message_of<DataError>([&] { open_data(root_.path().string()); });
  EXPECT_NE(message.find("t10k-labels-idx1-ubyte#0: label 3, expected 0 … 2"), std::string::npos) << message;
}

TEST_F(Idx, KnowsFashionMnistByItsFolder) {
  write_good(root_ / "FashionMNIST/raw");
  const DataSplits splits = open_data((root_ / "FashionMNIST/raw").string(), {.val_split = 0});
  ASSERT_EQ(splits.class_names.size(), 10u);
  EXPECT_EQ(splits.class_names[7], "sneaker");
}

TEST(FashionMnist, TheInstalledPackageIsRead) {
  try {
    resolve_data_path("fashion-mnist");
  } catch (const UsageError& error) {
    GTEST_SKIP() << "NOT TESTED: Fashion-MNIST: " << error.what();
  }
  const DataSplits splits = open_data("fashion-mnist");
  EXPECT_EQ(splits.description, "fashion-mnist: train 60000 (10 classes), val 10000");
  EXPECT_EQ(class_counts(*splits.train), std::vector<std::int64_t>(10, 6000));
  EXPECT_EQ(class_counts(*splits.val), std::vector<std::int64_t>(10, 1000));
  // The first training picture is known to be an ankle boot, the first of the test set, too.
  EXPECT_EQ(splits.class_names[std::size_t(splits.train->label(0))], "ankle boot");
  EXPECT_EQ(splits.class_names[std::size_t(splits.val->label(0))], "ankle boot");
  double sum = 0;
  for (std::int64_t i = 0; i < 60000; i += 10) {
    for (const std::uint8_t value : splits.train->read(i, 1).pixels) sum += value;
  }
  EXPECT_NEAR(sum / (6000.0 * 784 * 255), 0.2860, 0.003);  // the mean that everybody normalises by
}

}  // namespace
}  // namespace vretnet::datasets
