// vretnet data: what the library's own tests cannot see, the words and the exit codes.
#include "tests/tools/support.h"

namespace vretnet::tools {
namespace {

class DataTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    write_photos(4);
  }
};

TEST_F(DataTest, ACleanFolder) {
  const ProgramResult result = vretnet({"data", "check", "photos"});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("clean"));
  EXPECT_EQ(vretnet({"data", "check", "-d", "photos", "-q"}).err, "");
}

TEST_F(DataTest, CheckNamesWhatIsWrongAndMovesIt) {
  write_file(folder_ / "photos/ant/broken.png", "no image");
  fs::copy_file(folder_ / "photos/bee/00.png", folder_ / "photos/cat/twin.png");
  const ProgramResult text = vretnet({"data", "check", "photos"});
  EXPECT_EQ(text.exit_code, 3);
  EXPECT_THAT(text.out, HasSubstr("photos/ant/broken.png"));
  EXPECT_THAT(text.out, HasSubstr("twin.png"));
  const ProgramResult result = vretnet({"data", "check", "photos", "--format", "json", "-j", "2"});
  EXPECT_EQ(result.exit_code, 3);
  const json report = json::parse(result.out);
  EXPECT_EQ(report.at("clean"), false);
  ASSERT_EQ(report.at("unreadable").size(), 1u);
  EXPECT_EQ(report.at("unreadable")[0].at("file"), "photos/ant/broken.png");
  ASSERT_EQ(report.at("duplicates").size(), 1u);
  EXPECT_EQ(report.at("duplicates")[0].at("across_classes"), true);

  EXPECT_EQ(vretnet({"data", "check", "photos", "--fix", "move:aside"}).exit_code, 3);
  EXPECT_FALSE(fs::exists(folder_ / "photos/ant/broken.png"));
  fs::remove(folder_ / "photos/cat/twin.png");
  EXPECT_EQ(vretnet({"data", "check", "photos"}).exit_code, 0);
  expect_error({"data", "check", "photos", "--fix", "remove"}, 2, {"--fix", "move:"});
}

TEST_F(DataTest, StatisticsGoIntoARecipe) {
  const json statistics = json::parse(vretnet({"data", "stats", "photos", "--format", "json"}).out);
  EXPECT_EQ(statistics.at("images"), 12);
  EXPECT_EQ(statistics.at("mean").size(), 3u);
  EXPECT_THAT(vretnet({"data", "stats", "photos"}).out, HasSubstr("--mean"));
}

TEST_F(DataTest, ProgressIsOfAllImages) {
  for (const char* command : {"check", "stats"}) {
    const ProgramResult result = vretnet({"data", command, "photos", "--progress", "bar"});
    EXPECT_THAT(result.err, HasSubstr("]   8%")) << "1 of 12";
  }
}

TEST_F(DataTest, ImagesOfATestPartAreCounted) {
  write_photos(2, "parts/train");
  EXPECT_THAT(vretnet({"data", "stats", "parts"}).out, Not(HasSubstr("test")));
  write_photos(3, "parts/test");
  for (const char* command : {"check", "stats"}) {
    const std::vector<std::string> lines = lines_of(vretnet({"data", command, "parts"}).out);
    EXPECT_TRUE(lines.at(0).ends_with(" train     val    test")) << lines.at(0);
    EXPECT_TRUE(lines.at(1).ends_with("  2       0       3")) << lines.at(1);
  }
  const json report = json::parse(vretnet({"data", "stats", "parts", "--format", "json"}).out);
  EXPECT_EQ(report.at("classes")[0].at("test"), 3);
}

TEST_F(DataTest, SplitThenTrain) {
  ASSERT_EQ(vretnet({"data", "split", "photos", "-o", "split", "--val-split", "0.25"}).exit_code, 0);
  const ProgramResult dry = vretnet(Arguments{"train", "-d", "split", "-n"} + small_model());
  EXPECT_EQ(dry.exit_code, 0) << dry.err;
  EXPECT_THAT(dry.err, HasSubstr("train 9 (3 classes), val 3"));
  EXPECT_EQ(vretnet({"data", "split", "photos", "-o", "split"}).exit_code, 2) << "it is there already";
  expect_error({"data", "split", "photos"}, 2, {"--output"});
}

TEST_F(DataTest, ImportKnowsOnlyIdx) {
  expect_error({"data", "import", "tfrecord", "photos", "-o", "out"}, 2, {"idx"});
  const ProgramResult result = vretnet({"data", "import", "idx", "photos", "-o", "out"});
  EXPECT_TRUE(result.exit_code == 2 || result.exit_code == 3) << "no IDX files there";
}

}  // namespace
}  // namespace vretnet::tools
