#include "datasets/image_folder.h"

#include <set>

#include "core/base/error.h"
#include "tests/datasets/support.h"

namespace vretnet::datasets {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> class_names_of(const ScannedSplit& split) {
  std::vector<std::string> names;
  for (const auto& scanned : split.classes) names.push_back(scanned.name);
  return names;
}

TEST(FolderScan, FindsClassesNestedFoldersAndExtensionsInAnyCase) {
  TemporaryFolder root;
  for (const char* file : {"b/2.JPG", "b/1.jpeg", "b/deep/er/3.WebP", "B/x.png", "a/y.tiff", "a/.hidden.png",
                           ".git/z.png", "a/notes.txt", "a/movie.gif"}) {
    write_text(root / file, "x");
  }
  const FolderScan scan = scan_folder(root.path());
  ASSERT_EQ(scan.splits.size(), 1u);
  EXPECT_EQ(scan.splits[0].name, "");
  EXPECT_EQ(class_names_of(scan.splits[0]), (std::vector<std::string>{"B", "a", "b"}));
  EXPECT_EQ(scan.splits[0].classes[2].files,
            (std::vector<fs::path>{root / "b/1.jpeg", root / "b/2.JPG", root / "b/deep/er/3.WebP"}));
  EXPECT_EQ(scan.other, (std::vector<fs::path>{root / "a/movie.gif", root / "a/notes.txt"}));
}

TEST(FolderScan, TellsSplitsFromClassesThatAreCalledTrain) {
  TemporaryFolder split, flat;
  for (const char* file : {"train/cat/1.png", "valid/cat/2.png", "test/cat/3.png", "cover.png"}) {
    write_text(split / file, "x");
  }
  for (const char* file : {"train/1.png", "plane/2.png"}) write_text(flat / file, "x");
  const FolderScan splits = scan_folder(split.path());
  ASSERT_EQ(splits.splits.size(), 3u);
  EXPECT_EQ(splits.splits[0].name, "train");
  EXPECT_EQ(splits.splits[1].name, "val");
  EXPECT_EQ(splits.splits[2].name, "test");
  EXPECT_EQ(splits.loose, (std::vector<fs::path>{split / "cover.png"}));
  const FolderScan toys = scan_folder(flat.path());
  ASSERT_EQ(toys.splits.size(), 1u);
  EXPECT_EQ(class_names_of(toys.splits[0]), (std::vector<std::string>{"plane", "train"}));
}

TEST(FolderScan, FollowsLinksButNotInCircles) {
  TemporaryFolder root, elsewhere;
  write_text(root / "a/1.png", "x");
  write_text(elsewhere / "2.png", "x");
  fs::create_directory_symlink(elsewhere.path(), root / "a/linked");
  fs::create_directory_symlink(root / "a", root / "a/circle");
  fs::create_symlink(root / "nowhere.png", root / "a/dangling.png");
  const FolderScan scan = scan_folder(root.path());
  EXPECT_EQ(scan.splits[0].classes[0].files,
            (std::vector<fs::path>{root / "a/1.png", root / "a/dangling.png", root / "a/linked/2.png"}));
}

TEST(ImageFolder, LabelsFollowNamesNotPositions) {
  TemporaryFolder root;
  write_unique_png(root / "train/ant/1.png");
  write_unique_png(root / "train/bee/1.png");
  write_unique_png(root / "train/cow/1.png");
  write_unique_png(root / "val/cow/1.png");
  const FolderScan scan = scan_folder(root.path());
  const auto names = scanned_class_names(scan.splits[0]);
  const ImageFolder val(scan.splits[1], names);
  ASSERT_EQ(val.size(), 1);
  EXPECT_EQ(val.label(0), 2);  // "cow", though it is val's first folder
  EXPECT_EQ(val.class_names(), names);
}

TEST(ImageFolder, NamesAnUnknownValidationClass) {
  TemporaryFolder root;
  write_unique_png(root / "train/ant/1.png");
  write_unique_png(root / "train/beetle/1.png");
  write_unique_png(root / "val/betle/1.png");
  const FolderScan scan = scan_folder(root.path());
  const auto names = scanned_class_names(scan.splits[0]);
  const std::string message = message_of<DataError>([&] { ImageFolder(scan.splits[1], names); });
  EXPECT_NE(message.find("'betle'"), std::string::npos) << message;
  EXPECT_NE(message.find("Did you mean 'beetle'?"), std::string::npos) << message;
}

TEST(ImageFolder, AnEmptyClassIsAnError) {
  TemporaryFolder root;
  write_unique_png(root / "full/1.png");
  write_text(root / "hollow/readme.txt", "x");
  const FolderScan scan = scan_folder(root.path());
  const std::string message = message_of<DataError>([&] { scanned_class_names(scan.splits[0]); });
  EXPECT_NE(message.find("hollow"), std::string::npos) << message;
}

TEST(ImageFolder, OddNamesAreReadAndNamedAsTheyAre) {
  TemporaryFolder root;
  const std::vector<std::string> odd = {"line\nbreak.png", "\xff\xfe.png", "{}%s\\ \"q\".png", "-rf.png"};
  for (const std::string& name : odd) write_png(root / ("class {}\n") / name, noise_image(5, 4, 3, 7));
  const FolderScan scan = scan_folder(root.path());
  const ImageFolder folder(scan.splits[0], scanned_class_names(scan.splits[0]));
  ASSERT_EQ(folder.size(), 4);
  std::set<std::string> found;
  for (std::int64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(folder.read(i, 3).pixels, noise_image(5, 4, 3, 7).pixels);
    found.insert(folder.name(i));
  }
  for (const std::string& name : odd) EXPECT_TRUE(found.contains((root / ("class {}\n") / name).string()));
}

TEST(ImageFolder, AnUnreadableImageIsNamed) {
  TemporaryFolder root;
  write_text(root / "a/broken.png", "hello");
  const FolderScan scan = scan_folder(root.path());
  const ImageFolder folder(scan.splits[0], {"a"});
  const std::string message = message_of<DataError>([&] { folder.read(0, 3); });
  EXPECT_NE(message.find("a/broken.png: "), std::string::npos) << message;
}

}  // namespace
}  // namespace vretnet::datasets
