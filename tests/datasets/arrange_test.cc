#include "datasets/arrange.h"

#include "core/base/error.h"
#include "datasets/image_folder.h"
#include "datasets/registry.h"
#include "tests/datasets/support.h"

namespace vretnet::datasets {
namespace {

namespace fs = std::filesystem;

TEST(SplitFolder, DividesAsTrainingWould) {
  TemporaryFolder root;
  write_tree(root / "photos", 2, 10);
  write_unique_png(root / "photos/class0/deep/er.png");
  const DataSplits wanted = open_data((root / "photos").string(), {.val_split = 0.3, .seed = 9});
  for (const PlaceMode mode : {PlaceMode::Copy, PlaceMode::HardLink}) {
    const fs::path out = root / (mode == PlaceMode::Copy ? "copied" : "linked");
    const ArrangedCounts counts =
        split_folder(root / "photos", out, {.val_split = 0.3, .seed = 9, .mode = mode});
    EXPECT_EQ(counts.train, wanted.train->size());
    EXPECT_EQ(counts.val, wanted.val->size());
    const DataSplits found = open_data(out.string());
    ASSERT_EQ(found.val->size(), wanted.val->size());
    for (std::int64_t i = 0; i < found.val->size(); ++i) {
      EXPECT_EQ(fs::path(found.val->name(i)).lexically_relative(out / "val"),
                fs::path(wanted.val->name(i)).lexically_relative(root / "photos"));
      EXPECT_EQ(found.val->read(i, 3).pixels, wanted.val->read(i, 3).pixels);
      EXPECT_EQ(fs::hard_link_count(found.val->name(i)), mode == PlaceMode::HardLink ? 2u : 1u);
    }
    EXPECT_FALSE(fs::exists(out.string() + ".partial"));
    fs::remove_all(out);
  }
}

TEST(SplitFolder, TouchesNothingThatIsThere) {
  TemporaryFolder root;
  write_tree(root / "photos", 2, 4);
  write_text(root / "taken/file", "x");
  message_of<UsageError>([&] { split_folder(root / "photos", root / "taken"); });
  message_of<UsageError>([&] { split_folder(root / "photos", root / "photos/split"); });
  message_of<UsageError>([&] { split_folder(root / "photos", root / "out", {.val_split = 0}); });
  split_folder(root / "photos", root / "out");
  message_of<DataError>([&] { split_folder(root / "out", root / "again"); });
  EXPECT_FALSE(fs::exists(root / "again"));
  EXPECT_FALSE(fs::exists(root / "again.partial"));
}

TEST(ImportIdx, WritesAnImageFolderOfTheSamePictures) {
  TemporaryFolder root;
  std::string pixels;
  for (int i = 0; i < 4 * 12; ++i) pixels += char(i * 5);
  write_text(root / "fashion-mnist/train-images-idx3-ubyte.gz", gzipped(idx_bytes(0x803, {4, 3, 4}, pixels)));
  write_text(root / "fashion-mnist/train-labels-idx1-ubyte.gz", gzipped(idx_bytes(0x801, {4}, {9, 0, 9, 7})));
  write_text(root / "fashion-mnist/t10k-images-idx3-ubyte.gz",
             gzipped(idx_bytes(0x803, {1, 3, 4}, pixels.substr(0, 12))));
  write_text(root / "fashion-mnist/t10k-labels-idx1-ubyte.gz", gzipped(idx_bytes(0x801, {1}, {7})));
  std::int64_t last = 0;
  const ArrangedCounts counts = import_idx((root / "fashion-mnist").string(), root / "out/",
                                           [&](std::int64_t done, std::int64_t) { last = done; });
  EXPECT_EQ(counts.train, 4);
  EXPECT_EQ(counts.val, 1);
  EXPECT_EQ(last, 5);
  const DatasetPointer source = open_split((root / "fashion-mnist").string(), "train").data;
  const FolderScan scan = scan_folder(root / "out");
  EXPECT_EQ(scan.splits[0].classes.size(), 10u);  // classes without a picture have their folder, too
  for (std::int64_t i = 0; i < 4; ++i) {
    const std::string& class_name = source->class_names()[std::size_t(source->label(i))];
    const fs::path file = root / "out/train" / class_name / ("0000" + std::to_string(i) + ".png");
    ASSERT_TRUE(fs::exists(file)) << file;
    EXPECT_EQ(vision::read_image(file, {}, 1).pixels, source->read(i, 1).pixels);
  }
  EXPECT_TRUE(fs::exists(root / "out/val/sneaker/00000.png"));
  message_of<UsageError>([&] { import_idx((root / "fashion-mnist").string(), root / "out"); });
  message_of<DataError>([&] { import_idx((root / "out").string(), root / "more"); });
}

}  // namespace
}  // namespace vretnet::datasets
