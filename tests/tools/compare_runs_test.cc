// `vretnet eval compare` on small runs, its numbers against those of `vretnet eval` of each.
#include "tests/tools/support.h"

namespace vretnet::tools {
namespace {

const Arguments kOneThread = {"-t", "1", "-b", "8"};  // sums in training's order

class CompareRunsTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    write_photos(8, "data/train");
    write_photos(12, "data/val");
  }

  void train(const std::string& run, const std::string& seed, const Arguments& more = {},
             const std::string& data = "data") const {
    Arguments recipe = small_recipe("2");
    recipe[2] = data;
    const ProgramResult result =
        vretnet(recipe + Arguments{"--lr", "0.01", "--seed", seed, "-o", run} + more);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  // Two seeds of each of two models: a/1 a/2, and b/1 b/2 without a gate.
  void train_four() const {
    for (const char* seed : {"1", "2"}) {
      train(std::string("a/") + seed, seed);
      train(std::string("b/") + seed, seed, {"--gate", "false"});
    }
  }

  ProgramResult compare(const Arguments& arguments) const {
    return vretnet(Arguments{"eval", "compare"} + kOneThread + arguments);
  }
  json compared(const Arguments& arguments) const {
    const ProgramResult result = compare(arguments + Arguments{"--format", "json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out, nullptr, false);
  }
  json evaluated(const std::string& run, const Arguments& more = {}) const {
    return json::parse(
        vretnet(Arguments{"eval", "-m", run + "/best.safetensors", "-d", "data", "--format", "json"} +
                kOneThread + more)
            .out,
        nullptr, false);
  }
  double top1(const std::string& run) const { return evaluated(run).at("top1"); }
};

const Arguments kFour = {"a/1", "a/2", "b/1", "b/2"};

TEST_F(CompareRunsTest, RunsAreGroupedAndPairedByTheirSeeds) {
  train_four();
  // Other chunks are the same recipe.
  std::string recipe = text_of_file(folder_ / "a/2/config.toml");
  const std::size_t chunks = recipe.find("chunk-rows = 0");
  ASSERT_NE(chunks, std::string::npos);
  write_file(folder_ / "a/2/config.toml", recipe.replace(chunks, 14, "chunk-rows = 1"));
  const json report = compared({"a/1", "b/2", "a/2", "b/1"});
  EXPECT_EQ(report.at("images"), 36);
  ASSERT_EQ(report.at("groups").size(), 2u);
  const json &a = report.at("groups")[0], &b = report.at("groups")[1];
  EXPECT_EQ(a.at("name"), "vretnet_pico_patch4_28");
  EXPECT_EQ(b.at("name"), "vretnet_pico_patch4_28 gate=false");
  const json info = json::parse(vretnet({"info", "b/1/best.safetensors", "--format", "json"}).out);
  EXPECT_EQ(b.at("parameters"), info.at("parameters"));
  EXPECT_EQ(b.at("flops_per_image"), info.at("flops_per_image"));
  ASSERT_EQ(b.at("runs").size(), 2u);
  EXPECT_EQ(b.at("runs")[0].at("seed"), 2) << "as given";
  EXPECT_EQ(b.at("runs")[0].at("top1"), evaluated("b/2").at("top1"));
  EXPECT_GT(b.at("runs")[0].at("training_seconds"), 0);

  const double first = top1("a/1"), second = top1("a/2"), mean = (first + second) / 2;
  const json& whole = a.at("conditions")[0];
  EXPECT_DOUBLE_EQ(whole.at("top1").at("value"), mean);
  // t(0.975) of one degree of freedom; the deviation of two values over √2 is half of their distance.
  EXPECT_NEAR(whole.at("top1").at("high").get<double>() - mean, 12.7062 * std::abs(first - second) / 2, 1e-4);
  EXPECT_EQ(a.at("interval"), "student_t_over_seeds");
  for (const char* key : {"loss", "ece"}) {
    const double expected =
        (evaluated("a/1").at(key).get<double>() + evaluated("a/2").at(key).get<double>()) / 2;
    EXPECT_NEAR(whole.at(key), expected, 1e-6) << key;
  }

  ASSERT_EQ(report.at("differences").size(), 1u);
  const json& difference = report.at("differences")[0];
  EXPECT_EQ(difference.at("group"), a.at("name"));
  EXPECT_EQ(difference.at("against"), b.at("name"));
  EXPECT_EQ(difference.at("paired_by"), json({"image", "seed"}));
  ASSERT_EQ(difference.at("each_seed").size(), 2u);
  EXPECT_NEAR(difference.at("each_seed")[0], first - top1("b/1"), 1e-12) << "seed 1, the first of a";
  EXPECT_NEAR(difference.at("each_seed")[1], second - top1("b/2"), 1e-12);
  EXPECT_NEAR(difference.at("value"), mean - (top1("b/1") + top1("b/2")) / 2, 1e-12);
  const double low = difference.at("low"), high = difference.at("high");
  EXPECT_LE(low, difference.at("value").get<double>());
  EXPECT_LT(low, high);
  EXPECT_EQ(difference.at("verdict"), low > 0 ? "above" : high < 0 ? "below" : "not told apart");
}

// A model that is right where another is wrong is above it, and the other below: known answers, by a model
// that was trained and one that was not.
TEST_F(CompareRunsTest, AboveAndBelow) {
  train("good", "1", {"--epochs", "40"});
  const double good = top1("good");
  ASSERT_GT(good, 0.6) << "of three classes";
  fs::copy(write_model("first.safetensors"), folder_ / "poor.safetensors");
  const json report = compared({"good", "--group", "poor=poor.safetensors"});
  EXPECT_EQ(report.at("groups")[1].at("interval"), "bootstrap_over_images");
  EXPECT_TRUE(report.at("groups")[1].at("runs")[0].at("seed").is_null());
  EXPECT_FALSE(report.at("groups")[1].at("runs")[0].contains("training_seconds"));
  const json& difference = report.at("differences")[0];
  EXPECT_EQ(difference.at("verdict"), "above") << report.dump(2);
  EXPECT_EQ(difference.at("paired_by"), json::array({"image"}));
  const json turned = compared({"--group", "poor=poor.safetensors", "--group", "good=good"});
  EXPECT_EQ(turned.at("differences")[0].at("verdict"), "below");
  EXPECT_NEAR(turned.at("differences")[0].at("value"), -difference.at("value").get<double>(), 1e-12);
  const json same = compared({"good", "good/last.safetensors"});
  EXPECT_EQ(same.at("groups")[1].at("name"), "vretnet_pico_patch4_28 file=last.safetensors");
  const std::string text = compare({"good", "poor.safetensors"}).out;
  EXPECT_THAT(text, HasSubstr(" *"));
  EXPECT_THAT(text, HasSubstr("says nothing of other seeds"));
  EXPECT_THAT(text, HasSubstr("no timing.json"));
}

TEST_F(CompareRunsTest, FormatsAndGroupsByName) {
  train_four();
  const Arguments groups = {"--group", "gated=a/1,a/2", "--group", "plain=b/1,b/2"};
  const json report = compared(groups);
  EXPECT_EQ(report.at("differences")[0].at("value"), compared(kFour).at("differences")[0].at("value"));

  const std::vector<std::string> text = lines_of(compare(groups).out);
  EXPECT_THAT(text[0], HasSubstr("data: 36 images, split 'val'"));
  EXPECT_THAT(text[2], HasSubstr("model"));
  EXPECT_TRUE(text[3].starts_with("gated")) << text[3];
  EXPECT_THAT(text[3], HasSubstr("1, 2"));
  EXPECT_THAT(text[3], HasSubstr(" ± "));
  EXPECT_THAT(text[7], HasSubstr(report.at("differences")[0].at("verdict").get<std::string>()));

  ASSERT_EQ(compare(groups + Arguments{"-o", "table.md"}).exit_code, 0);
  EXPECT_EQ(text_of_file(folder_ / "table.md"), compare(groups + Arguments{"--format", "md"}).out);
  EXPECT_THAT(text_of_file(folder_ / "table.md"), HasSubstr("\n| gated "));

  const std::vector<std::string> csv = lines_of(compare(groups + Arguments{"--format", "csv"}).out);
  EXPECT_EQ(csv[0], "measure,images_with,group,against,value,low,high,verdict");
  EXPECT_TRUE(csv.back().starts_with("top1,,gated,plain,")) << csv.back();
  EXPECT_EQ(std::count_if(csv.begin(), csv.end(), [](const auto& line) { return line.starts_with("ece,"); }),
            2);

  EXPECT_EQ(
      compared(kFour + Arguments{"--against", "vretnet_pico_patch4_28"}).at("differences")[0].at("against"),
      "vretnet_pico_patch4_28");
  EXPECT_EQ(compared({"a/1", "a/2"}).at("differences").size(), 0u);
  const json crossed = compared({"--group", "one=a/1", "--group", "other=a/2"});
  EXPECT_EQ(crossed.at("differences")[0].at("paired_by"), json::array({"image"})) << "other seeds";
}

TEST_F(CompareRunsTest, WhatIsLostByOcclusionStandsBeside) {
  train("a", "1");
  train("b", "1", {"--gate", "false"});
  const json report = compared({"a", "b", "--occlude", "50", "--corrupt", "blur"});
  const json expected = evaluated("b", {"--occlude", "50", "--corrupt", "blur"});
  const json& conditions = report.at("groups")[1].at("conditions");
  ASSERT_EQ(conditions.size(), 1u + 2 + 5);
  ASSERT_EQ(expected.at("robustness").size(), 2u + 5);
  for (std::size_t i = 1; i < conditions.size(); ++i) {
    const json& row = expected.at("robustness")[i - 1];
    EXPECT_EQ(conditions[i].at("images_with"), row.at("images_with"));
    EXPECT_DOUBLE_EQ(conditions[i].at("top1").at("value"), row.at("top1"));
    EXPECT_NEAR(conditions[i].at("lost").at("value").get<double>(),
                expected.at("top1").get<double>() - row.at("top1").get<double>(), 1e-12);
  }
  ASSERT_EQ(report.at("differences").size(), conditions.size());
  const json& lost = report.at("differences")[1];
  EXPECT_EQ(lost.at("measure"), "lost");
  EXPECT_EQ(lost.at("images_with"), "patches of 50%");
  EXPECT_THAT((std::vector<std::string>{"loses more", "loses fewer", "not told apart"}),
              ::testing::Contains(lost.at("verdict").get<std::string>()));
  EXPECT_THAT(compare({"a", "b", "--occlude", "50"}).out, HasSubstr("lost with a block of 50%"));
}

// Answers are taken from files only where these are of the same model file and images, whole and unchanged.
TEST_F(CompareRunsTest, KeptAnswersAreTakenWhereTheyHold) {
  train("a", "1");
  train("b", "1", {"--gate", "false"});
  const Arguments keep = {"a", "b", "--occlude", "50", "--predictions", "kept", "-v", "--format", "json"};
  const auto taken = [&](const ProgramResult& result) {
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const auto lines = lines_of(result.err);
    return std::count_if(lines.begin(), lines.end(),
                         [](const auto& line) { return line.ends_with("answers from kept"); });
  };
  const ProgramResult first = compare(keep), again = compare(keep);
  EXPECT_EQ(taken(first), 0);
  EXPECT_EQ(taken(again), 6) << "two runs under three conditions";
  EXPECT_EQ(again.out, first.out);
  Arguments elsewhere = keep + Arguments{"-d", fs::canonical(folder_ / "data").string() + "/"};
  EXPECT_EQ(taken(compare(elsewhere)), 6) << "the same images by another name";
  EXPECT_EQ(taken(compare(keep + Arguments{"--tta", "hflip"})), 0);

  fs::rename(folder_ / "kept", folder_ / "before");
  ASSERT_EQ(
      vretnet(Arguments{"eval", "-m", "a/best.safetensors", "-d", "data", "-o", "kept/mine"} + kOneThread)
          .exit_code,
      0);
  EXPECT_EQ(taken(compare(keep)), 1) << "what eval -o wrote";
  fs::remove_all(folder_ / "kept");
  fs::rename(folder_ / "before", folder_ / "kept");

  for (const auto& entry : fs::directory_iterator(folder_ / "kept")) {
    const fs::path file = entry.path() / "predictions.csv";
    std::string text = text_of_file(file);
    const std::size_t flipped = text.find(",1,");
    if (flipped != std::string::npos) write_file(file, text.replace(flipped, 3, ",0,"));
  }
  const ProgramResult tampered = compare(keep);
  EXPECT_EQ(taken(tampered), 0);
  EXPECT_EQ(tampered.out, first.out);
  EXPECT_EQ(taken(compare(keep)), 6) << "written anew";

  fs::copy_file(folder_ / "a/last.safetensors", folder_ / "a/best.safetensors",
                fs::copy_options::overwrite_existing);
  std::string bytes = text_of_file(folder_ / "a/best.safetensors");
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_file(folder_ / "a/best.safetensors", bytes);
  EXPECT_EQ(taken(compare(keep)), 3) << "a is another model now";
  write_photo(folder_ / "data/val/ant/00.png", 0, 99, 15, 15);
  EXPECT_EQ(taken(compare(keep)), 0) << "other images";
}

TEST_F(CompareRunsTest, PredictionsOfEvalNameEveryImage) {
  train("a", "1");
  write_photo(folder_ / "data/val/bee/comma, \"quoted\".png", 1, 5, 9, 9);
  write_file(folder_ / "data/val/bee/broken.png", "no picture");
  const json report = evaluated("a", {"-o", "report"});
  const std::vector<std::string> rows = lines_of(text_of_file(folder_ / "report/predictions.csv"));
  ASSERT_EQ(rows.size(), 1u + 37);
  EXPECT_EQ(rows[0], "file,true,predicted,correct,probability,true_probability,loss");
  EXPECT_THAT(rows, ::testing::Contains(HasSubstr("\"data/val/bee/comma, \"\"quoted\"\".png\",bee,")));
  EXPECT_THAT(rows, Not(::testing::Contains(HasSubstr("broken.png"))));
  int right = 0;
  for (const std::string& row : rows) right += row.find(",1,") != std::string::npos;
  EXPECT_DOUBLE_EQ(report.at("top1"), right / 37.0);
  const json origin = json::parse(text_of_file(folder_ / "report/predictions.json"));
  EXPECT_EQ(origin.at("model").at("bytes"), fs::file_size(folder_ / "a/best.safetensors"));
  EXPECT_EQ(origin.at("answers").at("count"), 37);
  ASSERT_EQ(compare({"a", "--predictions", "."}).exit_code, 0);
  EXPECT_THAT(compare({"a", "--predictions", ".", "-v"}).err, HasSubstr("answers from ."));
}

TEST_F(CompareRunsTest, MistakesAreNamed) {
  train("a", "1");
  const Arguments command = {"eval", "compare"};
  expect_error(command, 2, {"nothing to compare", "--group"});
  fs::create_directories(folder_ / "empty");
  expect_error(command + Arguments{"a", "empty"}, 2, {"'empty' has no best.safetensors"});
  expect_error(command + Arguments{"aa"}, 2, {"'aa' does not exist. Did you mean 'a'?"});
  expect_error(command + Arguments{"a", "a/best.safetensors"}, 2,
               {"'a/best.safetensors' comes twice", "'a'"});
  expect_error(command + Arguments{"--group", "a/1"}, 2, {"--group: 'a/1', expected NAME=RUN,RUN"});
  expect_error(command + Arguments{"a", "--against", "b"}, 2, {"--against", "no group is called 'b'"});
  expect_error(command + Arguments{"a", "-o", "nowhere/table.md"}, 2, {"--output", "nowhere/table.md"});
  expect_error(command + Arguments{"a", "-o", "table.jsonl"}, 2, {"--output", ".json"});
  expect_error({"eval", "-d", "data", "compare", "a"}, 2, {"--data-dir", "stands before 'compare'"});
  expect_error({"eval", "-d", "data"}, 2, {"--model is missing"});
  expect_error({"eval", "-m", "a/best.safetensors"}, 2, {"--data-dir is missing"});

  train("b", "1", {"--depth", "1"});
  expect_error(command + Arguments{"--group", "both=a,b"}, 2,
               {"'a' and 'b' are not seeds of one model", "both"});
  train("repeated", "1");
  expect_error(command + Arguments{"a", "repeated"}, 2,
               {"'a' and 'repeated' have one recipe and one seed (1)"});
  const std::string other = write_model("other.safetensors").string();
  vision::Classifier classifier = vision::load_classifier(other);
  classifier.description.class_names = {"ant", "bee", "dog"};
  vision::save_classifier(other, classifier.description, classifier.model->parameters(), classifier.values);
  expect_error(command + Arguments{"a", "other.safetensors"}, 2,
               {"'a' and 'other.safetensors' know different classes", "'cat'"});
  expect_error(command + Arguments{"other.safetensors"}, 2, {"--data-dir is missing"});
  expect_error(command + Arguments{"other.safetensors", "-d", "data"}, 3, {"cat"});
}

// Without a folder of its own for validation each seed keeps other images aside, and was trained on those of
// the others.
TEST_F(CompareRunsTest, OtherValidationImagesAreRefused) {
  write_photos(10);
  train("one", "1", {"--val-split", "0.3"}, "photos");
  train("same", "1", {"--val-split", "0.3", "--gate", "false"}, "photos");
  train("other", "2", {"--val-split", "0.3"}, "photos");
  EXPECT_EQ(compared({"one", "same"}).at("images"), 9) << "the recipes' own division";
  const Arguments command = {"eval", "compare"};
  expect_error(command + Arguments{"one", "other"}, 3, {"'other' (seed 2", "'one' (seed 1", "data split"});
  write_model("alone.safetensors");
  expect_error(command + Arguments{"one", "alone.safetensors"}, 3, {"'alone.safetensors'", "is not known"});
  expect_error(command + Arguments{"one", "other", "-d", "data/val", "--split", "val"}, 3,
               {"'other' (seed 2"});
  EXPECT_EQ(compared({"one", "other", "-d", "data/val", "--split", "all"}).at("images"), 36);
  train("elsewhere", "1");
  expect_error(command + Arguments{"one", "elsewhere"}, 2, {"different data", "photos"});
}

}  // namespace
}  // namespace vretnet::tools
