#include "datasets/checks.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/base/error.h"
#include "datasets/registry.h"
#include "datasets/statistics.h"
#include "tests/datasets/support.h"

namespace vretnet::datasets {
namespace {

namespace fs = std::filesystem;

TEST(CheckData, ACleanTreeIsClean) {
  TemporaryFolder root;
  write_tree(root / "train", 2, 5);
  write_tree(root / "val", 2, 2);
  std::int64_t last = 0;
  const CheckReport report =
      check_data(root.path().string(), {.workers = 2, .progress = [&](auto done, auto total) {
                                          EXPECT_EQ(total, 14);
                                          last = done;
                                        }});
  EXPECT_TRUE(report.clean());
  EXPECT_EQ(report.images, 14);
  EXPECT_EQ(last, 14);
  ASSERT_EQ(report.classes.size(), 2u);
  EXPECT_EQ(report.classes[1].name, "class1");
  EXPECT_EQ(report.classes[1].train, 5);
  EXPECT_EQ(report.classes[1].val, 2);
}

TEST(CheckData, FindsEveryKindOfFault) {
  TemporaryFolder root;
  write_tree(root / "train", 2, 3);
  write_tree(root / "val", 1, 2);
  const auto picture = noise_image(20, 10, 1, 99);
  // Same bytes in another class; same pixels in another file (grey and RGB) of val.
  write_png(root / "train/class0/glass.png", picture);
  write_png(root / "train/class1/metal.png", picture);
  auto coloured = vision::make_image(20, 10, 3);
  for (std::size_t i = 0; i < coloured.pixels.size(); ++i) coloured.pixels[i] = picture.pixels[i / 3];
  write_png(root / "val/class0/leak.png", coloured);
  // Same bytes in the same class and split: no harm.
  fs::copy_file(root / "train/class1/image_000.png", root / "train/class1/twin.png");
  write_text(root / "train/class1/broken.jpg", "hello");
  write_text(root / "train/class1/clip.gif", "GIF89a");
  write_unique_png(root / "train/stray.png");
  fs::create_directories(root / "train/hollow");
  write_unique_png(root / "val/stranger/1.png");

  for (const int workers : {0, 2}) {
    const CheckReport report = check_data(root.path().string(), {.workers = workers});
    EXPECT_FALSE(report.clean());
    ASSERT_EQ(report.unreadable.size(), 1u);
    EXPECT_EQ(report.unreadable[0].file, (root / "train/class1/broken.jpg").string());
    EXPECT_EQ(report.unreadable[0].reason, "not an image: unknown signature 'hello'");
    ASSERT_EQ(report.duplicates.size(), 2u);
    const DuplicateGroup& across = report.duplicates[0];
    EXPECT_EQ(across.files, (std::vector<std::string>{(root / "train/class0/glass.png").string(),
                                                      (root / "train/class1/metal.png").string(),
                                                      (root / "val/class0/leak.png").string()}));
    EXPECT_TRUE(across.across_classes);
    EXPECT_TRUE(across.leaked);
    EXPECT_FALSE(across.same_bytes);
    const DuplicateGroup& twins = report.duplicates[1];
    EXPECT_EQ(twins.files.size(), 2u);
    EXPECT_TRUE(twins.same_bytes);
    EXPECT_FALSE(twins.across_classes || twins.leaked);
    EXPECT_EQ(report.empty_classes, std::vector<std::string>{(root / "train/hollow").string()});
    EXPECT_EQ(report.unknown_val_classes, std::vector<std::string>{"stranger"});
    EXPECT_EQ(report.missing_val_classes, std::vector<std::string>{"class1"});
    EXPECT_EQ(report.unrecognised, std::vector<std::string>{(root / "train/class1/clip.gif").string()});
    EXPECT_EQ(report.loose, std::vector<std::string>{(root / "train/stray.png").string()});
  }
}

TEST(CheckData, PicturesOfEqualSizeAreToldApartByTheirPixels) {
  TemporaryFolder root;
  write_png(root / "a/1.png", noise_image(4, 8, 3, 1));
  auto turned = noise_image(4, 8, 3, 1);
  std::swap(turned.width, turned.height);  // the same bytes of pixels in another shape
  write_png(root / "a/2.png", turned);
  EXPECT_TRUE(check_data(root.path().string()).duplicates.empty());
}

TEST(MoveUnreadable, MovesAsideWithoutOverwriting) {
  TemporaryFolder root, aside;
  write_tree(root.path(), 1, 2);
  write_text(root / "class0/sub/bad.png", "hello");
  write_text(aside / "class0/sub/bad.png", "mine");
  const CheckReport report = check_data(root.path().string());
  message_of<UsageError>([&] { move_unreadable(report, root.path(), root / "broken"); });
  EXPECT_TRUE(fs::exists(root / "class0/sub/bad.png"));
  const auto moves = move_unreadable(report, root.path(), aside.path());
  ASSERT_EQ(moves.size(), 1u);
  EXPECT_EQ(moves[0].second, aside / "class0/sub/bad-1.png");
  EXPECT_FALSE(fs::exists(root / "class0/sub/bad.png"));
  EXPECT_EQ(fs::file_size(aside / "class0/sub/bad.png"), 4u);
  EXPECT_EQ(fs::file_size(moves[0].second), 5u);
  EXPECT_TRUE(check_data(root.path().string()).clean());
}

TEST(Statistics, CountsSizesKindsAndBrightness) {
  TemporaryFolder root;
  auto image = vision::make_image(2, 1, 3);
  image.pixels = {255, 0, 0, 0, 0, 51};
  write_png(root / "train/a/1.png", image);
  write_png(root / "train/a/2.png", vision::make_image(6, 3, 1));  // black, grey
  write_png(root / "val/a/3.png", noise_image(4, 9, 3, 1));        // has no part in the mean
  write_text(root / "train/a/4.png", "x");
  for (const int workers : {0, 3}) {
    const DataStatistics statistics = data_statistics(root.path().string(), {.workers = workers});
    EXPECT_EQ(statistics.images, 3);
    EXPECT_EQ(statistics.unreadable, 1);
    EXPECT_EQ(statistics.width.minimum, 2);
    EXPECT_EQ(statistics.width.median, 4);
    EXPECT_EQ(statistics.width.maximum, 6);
    EXPECT_EQ(statistics.height.median, 3);
    EXPECT_EQ(statistics.formats, (std::map<std::string, std::int64_t>{{"PNG", 3}}));
    EXPECT_EQ(statistics.kinds, (std::map<std::string, std::int64_t>{{"RGB", 2}, {"grey", 1}}));
    EXPECT_DOUBLE_EQ(statistics.mean[0], 1.0 / 20);
    EXPECT_DOUBLE_EQ(statistics.mean[1], 0);
    EXPECT_DOUBLE_EQ(statistics.mean[2], 0.2 / 20);
    EXPECT_NEAR(statistics.deviation[0], std::sqrt(1.0 / 20 - 1.0 / 400), 1e-12);
  }
}

// The developers' kit: data check names every file of it that must be refused.
TEST(CheckData, NamesEveryFileOfTheKitThatMustBeRefused) {
  const fs::path kit = fs::path(VRETNET_SOURCE_DIR) / ".." / "shared" / "data" / "bad-images.tar.gz";
  if (!fs::exists(kit)) GTEST_SKIP() << "NOT TESTED: the kit of bad images is missing: " << kit;
  TemporaryFolder root;
  const std::string command = "tar xzf '" + kit.string() + "' -C '" + root.path().string() + "'";
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  const CheckReport report = check_data((root / "bad-images/files").string(), {.workers = 2});
  std::set<std::string> named(report.unrecognised.begin(), report.unrecognised.end());
  for (const UnreadableFile& file : report.unreadable) {
    named.insert(file.file);
    EXPECT_FALSE(file.reason.empty()) << file.file;
  }
  std::ifstream manifest(root / "bad-images/MANIFEST.csv");
  int refused = 0, decoded = 0;
  for (std::string line; std::getline(manifest, line);) {
    const std::string file = line.substr(0, line.find(','));
    if (!file.starts_with("files/")) continue;  // the heading, and the one name in quotation marks
    const bool is_named = named.contains((root / "bad-images" / file).string());
    if (line.find(",rejected,") != std::string::npos) {
      ++refused;
      EXPECT_TRUE(is_named) << file;
    } else if (line.find(",PNG,") != std::string::npos && line.find(",decodes,") != std::string::npos) {
      ++decoded;
      EXPECT_FALSE(is_named) << file;
    }
  }
  EXPECT_GT(refused, 90);
  EXPECT_GT(decoded, 150);
  EXPECT_FALSE(report.clean());
}

}  // namespace
}  // namespace vretnet::datasets
