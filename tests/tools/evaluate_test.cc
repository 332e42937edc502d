#include "tests/tools/support.h"
#include "tests/tools/xml.h"

namespace vretnet::tools {
namespace {

class EvaluateTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    write_photos(5, "data/val");
    write_photos(2, "data/train");
    model_ = write_model().string();
  }

  std::string model_;
};

TEST_F(EvaluateTest, JsonHasTheKeysOfTheContract) {
  write_file(folder_ / "data/val/ant/broken.png", "no image");
  const ProgramResult result = vretnet({"eval", "-m", model_, "-d", "data", "--format", "json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  ASSERT_EQ(lines_of(result.out).size(), 1u);
  const json report = json::parse(result.out);
  std::set<std::string> keys, class_keys;
  for (const auto& [key, value] : report.items()) keys.insert(key);
  for (const auto& [key, value] : report.at("classes")[0].items()) class_keys.insert(key);
  EXPECT_EQ(keys, (std::set<std::string>{"top1", "top5", "loss", "ece", "images", "skipped", "classes",
                                         "images_per_second"}));
  EXPECT_EQ(class_keys, (std::set<std::string>{"name", "images", "precision", "recall", "f1"}));
  EXPECT_EQ(report.at("images"), 15);
  EXPECT_EQ(report.at("skipped"), 1);
  EXPECT_EQ(report.at("top5"), 1.0) << "of three classes";
  EXPECT_EQ(report.at("classes").size(), 3u);
  EXPECT_THAT(result.err, HasSubstr("broken.png"));
}

TEST_F(EvaluateTest, DisturbedImagesHaveARowEach) {
  const ProgramResult result = vretnet({"eval", "-m", model_, "-d", "data", "--format", "json", "--occlude",
                                        "0,50", "--corrupt", "noise,jpeg"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json report = json::parse(result.out);
  const json& rows = report.at("robustness");
  ASSERT_EQ(rows.size(), 2u * 2 + 2u * 5);
  EXPECT_EQ(rows[0].at("images_with"), "patches of 0%");
  EXPECT_EQ(rows[0].at("top1"), report.at("top1")) << "nothing is hidden";
  EXPECT_EQ(rows[0].at("loss"), report.at("loss"));
  EXPECT_NE(rows[2].at("loss"), report.at("loss")) << "half of the patches are hidden";
  EXPECT_EQ(rows[4].at("images_with"), "noise 1");
  const ProgramResult again = vretnet({"eval", "-m", model_, "-d", "data", "--format", "json", "--occlude",
                                       "0,50", "--corrupt", "noise,jpeg", "-j", "3"});
  EXPECT_EQ(json::parse(again.out).at("robustness"), rows) << "the same for any number of workers";
  const ProgramResult text = vretnet({"eval", "-m", model_, "-d", "data", "--occlude", "50"});
  EXPECT_THAT(text.out, HasSubstr("a block of 50%"));
  EXPECT_EQ(vretnet({"eval", "-m", model_, "-d", "data", "--occlude", "150"}).exit_code, 2);
  EXPECT_EQ(vretnet({"eval", "-m", model_, "-d", "data", "--corrupt", "fog"}).exit_code, 2);
}

TEST_F(EvaluateTest, FilesAgreeWithTheReport) {
  const ProgramResult result = vretnet({"eval", "-m", model_, "-d", "data", "--format", "json", "-o", "out"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json report = json::parse(result.out);
  const std::vector<std::string> confusion = lines_of(text_of_file(folder_ / "out/confusion.csv"));
  ASSERT_EQ(confusion.size(), 4u);
  EXPECT_EQ(confusion[0], "true,ant,bee,cat");
  int right = 0;
  for (std::size_t row = 1; row < 4; ++row) {
    std::istringstream fields(confusion[row]);
    std::string field;
    std::getline(fields, field, ',');
    EXPECT_EQ(field, (std::vector<std::string>{"ant", "bee", "cat"}[row - 1]));
    int sum = 0;
    for (std::size_t column = 1; std::getline(fields, field, ','); ++column) {
      sum += std::stoi(field);
      if (column == row) right += std::stoi(field);
    }
    EXPECT_EQ(sum, 5) << confusion[row];
  }
  EXPECT_DOUBLE_EQ(report.at("top1"), right / 15.0);
  const std::vector<std::string> classes = lines_of(text_of_file(folder_ / "out/per_class.csv"));
  ASSERT_EQ(classes.size(), 4u);
  EXPECT_EQ(classes[0], "class,images,precision,recall,f1");
  EXPECT_TRUE(classes[1].starts_with("ant,5,"));
  const std::vector<std::string> losses = lines_of(text_of_file(folder_ / "out/top_losses.csv"));
  EXPECT_EQ(losses.size(), 16u);
  EXPECT_THAT(losses[1], HasSubstr("data/val/"));
  expect_well_formed(text_of_file(folder_ / "out/confusion.svg"));
}

TEST_F(EvaluateTest, SplitsAndBatchesAndWorkers) {
  const auto report = [&](const Arguments& flags) {
    json result =
        json::parse(vretnet(Arguments{"eval", "-m", model_, "-d", "data", "--format", "json"} + flags).out);
    result.erase("images_per_second");
    return result;
  };
  EXPECT_EQ(report({"--split", "train"}).at("images"), 6);
  const json whole = report({});
  EXPECT_EQ(report({"-j", "0"}), whole);
  EXPECT_EQ(report({"-j", "4"}), whole);
  EXPECT_NEAR(report({"-b", "4"}).at("loss").get<double>(), whole.at("loss").get<double>(), 1e-6);
}

// The folder is not split on disk: what training kept for validation is measured, and nothing else.
TEST_F(EvaluateTest, AFlatFolderIsDividedAsInTraining) {
  write_photos(10);
  const Arguments division = {"--val-split", "0.3", "--seed", "5"};
  const ProgramResult run = vretnet(small_recipe("1") + division + Arguments{"-o", "run"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Arguments eval = {"eval",     "-m",  "run/best.safetensors", "-d", "photos", "-t", "1", "-b", "8",
                          "--format", "json"};
  const ProgramResult val = vretnet(eval + division);
  ASSERT_EQ(val.exit_code, 0) << val.err;
  EXPECT_THAT(val.err, HasSubstr("9 images, split 'val: 30 % of each class, seed 5'"));
  EXPECT_EQ(json::parse(val.out).at("images"), 9);
  EXPECT_EQ(json::parse(val.out).at("top1"), json::parse(run.out).at("top1"));
  EXPECT_EQ(json::parse(val.out).at("loss"), json::parse(run.out).at("loss"));
  EXPECT_EQ(json::parse(vretnet(eval + division + Arguments{"--split", "train"}).out).at("images"), 21);
  EXPECT_EQ(json::parse(vretnet(eval + Arguments{"--split", "all"}).out).at("images"), 30);
  EXPECT_EQ(json::parse(vretnet(eval).out).at("images"), 3) << "training's default: a tenth";
}

TEST_F(EvaluateTest, AModelsNameHasNoWeights) {
  const char* name = "vretnet_nano_patch4_32";
  expect_error({"eval", "-m", name, "-d", "data"}, 2, {name, "is a model's name; eval needs a trained file"});
  expect_error({"predict", "-m", name, "data"}, 2, {name, "is a model's name; predict needs a trained file"});
}

TEST_F(EvaluateTest, FailUnder) {
  const ProgramResult result = vretnet({"eval", "-m", model_, "-d", "data", "--fail-under", "1"});
  EXPECT_EQ(result.exit_code, 1) << "an untrained model that is always right";
  EXPECT_THAT(result.err, HasSubstr("--fail-under"));
  EXPECT_THAT(result.out, HasSubstr("top1")) << "the report comes all the same";
  EXPECT_EQ(vretnet({"eval", "-m", model_, "-d", "data", "--fail-under", "0"}).exit_code, 0);
}

TEST_F(EvaluateTest, ClassesAreMatchedByName) {
  fs::rename(folder_ / "data/val/ant", folder_ / "data/val/dog");
  fs::remove_all(folder_ / "data/train");
  expect_error({"eval", "-m", model_, "-d", "data/val", "--split", "all"}, 3, {"dog"});
  fs::remove_all(folder_ / "data/val/dog");
  const ProgramResult result =
      vretnet({"eval", "-m", model_, "-d", "data/val", "--split", "all", "--format", "json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json report = json::parse(result.out);
  EXPECT_EQ(report.at("classes")[0].at("images"), 0);
  EXPECT_EQ(report.at("classes")[1].at("name"), "bee");
  EXPECT_EQ(report.at("classes")[1].at("images"), 5);
}

TEST_F(EvaluateTest, WithoutImagesItIsADataError) {
  fs::create_directories(folder_ / "empty/ant");
  EXPECT_EQ(vretnet({"eval", "-m", model_, "-d", "empty"}).exit_code, 3);
}

TEST_F(EvaluateTest, NamesInTheChartAreEscaped) {
  for (const char* part : {"train", "val"}) {
    fs::rename(folder_ / "data" / part / "ant", folder_ / "data" / part / "<ant> & \"bee\"");
  }
  ASSERT_EQ(vretnet(Arguments{"train", "-d", "data", "-t", "1", "--epochs", "1", "-o", "run"} + small_model())
                .exit_code,
            0);
  const std::string chart = text_of_file(folder_ / "run/confusion.svg");
  expect_well_formed(chart);
  EXPECT_THAT(chart, HasSubstr("&lt;ant&gt; &amp; &quot;bee&quot;"));
  EXPECT_THAT(text_of_file(folder_ / "run/confusion.csv"), HasSubstr("\"<ant> & \"\"bee\"\"\""));
  EXPECT_EQ(json::parse(text_of_file(folder_ / "run/classes.json"))[0], "<ant> & \"bee\"");
}

// Confidence that is off by a known factor is put right, for eval and for predict, and nothing else changes.
TEST_F(EvaluateTest, CalibrateFitsTheTemperature) {
  const auto report = [&](const Arguments& more) {
    const ProgramResult result =
        vretnet(Arguments{"eval", "-m", model_, "-d", "data", "--format", "json"} + more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    json read = json::parse(result.out);
    read.erase("images_per_second");
    return read;
  };
  const json before = report({});
  EXPECT_EQ(vision::load_classifier(model_).description.temperature, 1);
  EXPECT_EQ(report({"--calibrate"}), before) << "of the temperature that the file had";
  const vision::Classifier calibrated = vision::load_classifier(model_);
  EXPECT_NE(calibrated.description.temperature, 1);
  const json after = report({});
  EXPECT_LT(after.at("loss").get<double>(), before.at("loss").get<double>());
  EXPECT_EQ(after.at("top1"), before.at("top1"));
  report({"--calibrate"});
  EXPECT_NEAR(vision::load_classifier(model_).description.temperature, calibrated.description.temperature,
              1e-3);
  EXPECT_EQ(vision::load_classifier(model_).values, calibrated.values);
}

}  // namespace
}  // namespace vretnet::tools
