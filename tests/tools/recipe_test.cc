// The training recipe as flags: each is recorded, runs again and does what it says.
#include <cmath>
#include <map>
#include <set>

#include "tests/tools/support.h"
#include "vision/image/decode.h"
#include "vision/image/transforms.h"

namespace vretnet::tools {
namespace {

class RecipeTest : public ToolTest {
 protected:
  std::vector<json> metrics(const std::string& run) const {
    std::vector<json> rows;
    for (const std::string& line : lines_of(text_of_file(folder_ / run / "metrics.jsonl"))) {
      rows.push_back(json::parse(line));
    }
    return rows;
  }
  std::string model_bytes(const std::string& run) const {
    return text_of_file(folder_ / run / "last.safetensors");
  }
};

TEST_F(RecipeTest, EveryFlagIsRecordedAndRunsAgainForAnyNumberOfWorkers) {
  write_photos();
  const Arguments everything = {"--auto-augment",
                                "rand-m9-n2-mstd0.5-inc1",
                                "--reprob",
                                "0.25",
                                "--remode",
                                "rand",
                                "--mixup",
                                "0.8",
                                "--cutmix",
                                "1.0",
                                "--mixup-prob",
                                "0.9",
                                "--mixup-switch-prob",
                                "0.4",
                                "--mixup-off-epoch",
                                "2",
                                "--class-weights",
                                "sqrt-inv",
                                "--patience",
                                "7",
                                "--cooldown-epochs",
                                "1",
                                "--drop-path",
                                "0.3",
                                "--balanced"};
  const ProgramResult first = vretnet(small_recipe("2") + everything + Arguments{"-o", "first", "-j", "0"});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const std::string config = text_of_file(folder_ / "first/config.toml");
  for (const char* line : {"auto-augment = \"rand-m9-n2-mstd0.5-inc1\"", "reprob = 0.25", "remode = \"rand\"",
                           "mixup = 0.8", "cutmix = 1", "mixup-prob = 0.9", "mixup-switch-prob = 0.4",
                           "mixup-off-epoch = 2", "class-weights = \"sqrt-inv\"", "patience = 7",
                           "cooldown-epochs = 1", "drop-path = 0.3", "balanced = true"}) {
    EXPECT_THAT(config, HasSubstr(std::string(line) + "\n"));
  }
  for (const char* workers : {"1", "4"}) {
    const std::string run = std::string("again") + workers;
    const ProgramResult again =
        vretnet({"train", "-c", "first/config.toml", "-t", "1", "-j", workers, "-o", run});
    ASSERT_EQ(again.exit_code, 0) << again.err;
    for (const char* name : {"config.toml", "metrics.csv", "last.state.safetensors", "best.safetensors"}) {
      EXPECT_TRUE(text_of_file(folder_ / "first" / name) == text_of_file(folder_ / run / name)) << name;
    }
  }
}

// Each flag alone makes another run: none is read and forgotten.
TEST_F(RecipeTest, EveryFlagChangesTheRun) {
  write_photos(8);
  fs::remove(folder_ / "photos/ant/00.png");  // unequal classes
  fs::remove(folder_ / "photos/ant/01.png");
  const auto run_with = [&](const std::string& name, const Arguments& flags) {
    const ProgramResult result = vretnet(small_recipe("2") + Arguments{"-o", name} + flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return model_bytes(name);
  };
  std::set<std::string> models = {run_with("plain", {})};
  const std::vector<Arguments> flags = {{"--aa", "rand-m9-p1"},
                                        {"--reprob", "1"},
                                        {"--reprob", "1", "--remode", "const"},
                                        {"--mixup", "1"},
                                        {"--cutmix", "1"},
                                        {"--mixup", "1", "--cutmix", "1", "--mixup-switch-prob", "0.5"},
                                        {"--mixup", "1", "--mixup-prob", "0.5"},
                                        {"--cutmix", "1", "--mixup-off-epoch", "1"},
                                        {"--class-weights", "inv"},
                                        {"--class-weights", "sqrt-inv"},
                                        {"--balanced"},
                                        {"--drop-path", "0.5"},
                                        {"--learned-decay", "true"},
                                        {"--cooldown-epochs", "1"}};
  for (std::size_t i = 0; i < flags.size(); ++i) {
    EXPECT_TRUE(models.insert(run_with("run" + std::to_string(i), flags[i])).second)
        << ::testing::PrintToString(flags[i]);
  }
}

TEST_F(RecipeTest, CoolDownAddsEpochsAtTheMinimum) {
  write_photos(8);
  for (const char* schedule : {"cosine", "constant"}) {
    const std::string run = schedule;
    const ProgramResult result =
        vretnet(small_recipe("2") + Arguments{"--cooldown-epochs", "2", "--lr", "1e-3", "--min-lr", "1e-4",
                                              "--sched", schedule, "-o", run});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("epoch  4/4"));
    const std::vector<json> rows = metrics(run);
    ASSERT_EQ(rows.size(), 4u);
    EXPECT_GT(rows[0].at("learning_rate").get<double>(), 2e-4) << "of the next step";
    for (int epoch = 1; epoch < 4; ++epoch) {
      EXPECT_DOUBLE_EQ(rows[std::size_t(epoch)].at("learning_rate").get<double>(), 1e-4);
    }
  }
}

TEST_F(RecipeTest, PatienceStopsWhatDoesNotImprove) {
  write_photos(8);
  // Steps of 1e-12 change no answer, so the first epoch stays the best.
  const Arguments still = {"--lr", "1e-12", "--min-lr", "0", "--patience", "2", "-o", "run"};
  const ProgramResult result = vretnet(small_recipe("9") + still);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(metrics("run").size(), 3u);
  EXPECT_EQ(json::parse(result.out).at("epoch"), 1);
  EXPECT_THAT(result.err, HasSubstr("stopped early: no better top1 in 2 epochs since epoch 1"));
  const std::string before = text_of_file(folder_ / "run/last.state.safetensors");
  const ProgramResult again = vretnet({"train", "--resume", "run"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(metrics("run").size(), 3u) << "it stays stopped";
  EXPECT_TRUE(text_of_file(folder_ / "run/last.state.safetensors") == before);
  expect_error(small_recipe("9") + Arguments{"--patience", "2", "--val-split", "0", "-o", "blind"}, 2,
               {"--patience: 2", "no validation images"});
}

TEST_F(RecipeTest, ClassWeightsAreThoseOfTheWordOrTheFile) {
  write_photos(8);
  for (const char* name : {"04.png", "05.png", "06.png", "07.png"}) {
    fs::remove(folder_ / "photos/bee" / name);
    fs::remove(folder_ / "photos/cat" / name);
  }
  const auto train = [&](const std::string& weights, const std::string& run) {
    const ProgramResult result =
        vretnet(small_recipe("1") + Arguments{"--val-split", "0", "--class-weights", weights, "-o", run});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return model_bytes(run);
  };
  // 16 images of 8, 4 and 4: inverse weights, an image counting 1 on average, are 16/3 over the class's.
  write_file(folder_ / "weights.json",
             json{{"ant", 16 / 3.0 / 8}, {"bee", 16 / 3.0 / 4}, {"cat", 16 / 3.0 / 4}}.dump());
  write_file(folder_ / "ones.json", R"({"ant": 1, "bee": 1, "cat": 1})");
  const std::string inverse = train("inv", "inverse");
  EXPECT_TRUE(inverse == train("weights.json", "file"));
  EXPECT_TRUE(train("ones.json", "ones") == train("none", "none"));
  EXPECT_FALSE(inverse == model_bytes("none"));

  fs::remove(folder_ / "weights.json");
  const ProgramResult resumed = vretnet({"train", "--resume", "file"});
  EXPECT_EQ(resumed.exit_code, 0) << "the run has its own copy: " << resumed.err;

  const auto expect_refused = [&](const std::string& text, const std::vector<std::string>& words) {
    write_file(folder_ / "wrong.json", text);
    expect_error(small_recipe("1") + Arguments{"--class-weights", "wrong.json", "-o", "wrong"}, 2, words);
  };
  expect_refused(R"({"ant": 1, "bee": 1})", {"--class-weights", "wrong.json", "class 'cat' has no weight"});
  expect_refused(R"({"ant": 1, "be": 1, "cat": 2})", {"'be' is no class", "Did you mean 'bee'?"});
  expect_refused(R"({"ant": -1, "bee": 1, "cat": 2})", {"'ant' is -1", "above 0"});
  expect_refused(R"({"ant": "much", "bee": 1, "cat": 2})", {"'ant' is \"much\""});
  expect_refused("ant: 3", {"wrong.json", "expected JSON"});
  expect_error(small_recipe("1") + Arguments{"--class-weights", "inverse-ly"}, 2,
               {"--class-weights", "inverse-ly", "none, inv, sqrt-inv"});
}

// Answers of an image and its mirror, asked apart, have the mean that --tta hflip gives.
TEST_F(RecipeTest, TestTimeAugmentationAveragesAnImageAndItsMirror) {
  const std::string model = write_model("causal.safetensors", "causal").string();
  write_photo(folder_ / "data/bee/image.png", 1, 5, 16, 16);
  vision::Image mirror = vision::read_image(folder_ / "data/bee/image.png");
  vision::flip_horizontally(mirror);
  const auto bytes = vision::encode_png(mirror);
  write_file(folder_ / "mirror.png", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  const auto ask = [&](const std::string& file, const Arguments& flags) {
    const ProgramResult result =
        vretnet(Arguments{"predict", "-m", model, "-k", "3", "--format", "jsonl", file} + flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::map<std::string, double> probabilities;
    const json line = json::parse(result.out);
    for (const json& each : line.at("top")) probabilities[each.at("label")] = each.at("probability");
    return probabilities;
  };
  const auto plain = ask("data/bee/image.png", {}), mirrored = ask("mirror.png", {}),
             both = ask("data/bee/image.png", {"--tta", "hflip"});
  EXPECT_NE(plain, mirrored);
  for (const auto& [label, probability] : both) {
    EXPECT_NEAR(probability, (plain.at(label) + mirrored.at(label)) / 2, 1.01e-4) << label;
  }
  const ProgramResult eval =
      vretnet({"eval", "-m", model, "-d", "data", "--split", "all", "--tta", "hflip", "--format", "json"});
  ASSERT_EQ(eval.exit_code, 0) << eval.err;
  EXPECT_NEAR(std::exp(-json::parse(eval.out).at("loss").get<double>()), both.at("bee"), 1e-4);
  expect_error({"predict", "-m", model, "--stream", "--tta", "hflip", "mirror.png"}, 2,
               {"--tta: hflip", "--stream"});
  expect_error({"eval", "-m", model, "-d", "data", "--tta", "vflip"}, 2, {"--tta", "vflip"});
}

}  // namespace
}  // namespace vretnet::tools
