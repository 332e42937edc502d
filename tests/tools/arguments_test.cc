// Where a flag's value comes from, and what the program says to a wrong one.
#include "tests/tools/support.h"

namespace vretnet::tools {
namespace {

class ArgumentsTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    write_photos(4);
  }

  // The value of `key` in the config.toml of a run of one epoch with these arguments.
  std::string recorded(const std::string& key, const Arguments& arguments, ProgramOptions options = {}) {
    const std::string run = "run" + std::to_string(runs_++);
    const ProgramResult result = vretnet(
        Arguments{"train", "-d", "photos", "-t", "1", "--epochs", "1", "-o", run} + small_model() + arguments,
        options);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    for (const std::string& line : lines_of(text_of_file(folder_ / run / "config.toml"))) {
      if (line.starts_with(key + " = ")) return line.substr(key.size() + 3);
    }
    return "nothing";
  }

  int runs_ = 0;
};

TEST_F(ArgumentsTest, CommandLineThenEnvironmentThenFileThenDefault) {
  write_file(folder_ / "recipe.toml", "lr = 0.25\nsmoothing = 0.25\nbatch-size = 4\n");
  const ProgramOptions environment{.environment = {{"VRETNET_LR", "0.5"}, {"VRETNET_BATCH_SIZE", "3"}}};
  EXPECT_EQ(recorded("lr", {}), "0.001");
  EXPECT_EQ(recorded("lr", {"-c", "recipe.toml"}), "0.25");
  EXPECT_EQ(recorded("lr", {"-c", "recipe.toml"}, environment), "0.5");
  EXPECT_EQ(recorded("lr", {"-c", "recipe.toml", "--lr", "0.125"}, environment), "0.125");
  EXPECT_EQ(recorded("lr", {"--lr=0.125", "--config=recipe.toml"}, environment), "0.125");
  EXPECT_EQ(recorded("batch-size", {"-c", "recipe.toml", "-b2"}, environment), "2");
  EXPECT_EQ(recorded("smoothing", {"-c", "recipe.toml", "--lr", "0.125"}, environment), "0.25");
  EXPECT_EQ(recorded("smoothing", {}, {.environment = {{"VRETNET_CONFIG", "recipe.toml"}}}), "0.25");
  EXPECT_EQ(recorded("lr", {}, {.environment = {{"VRETNET_LR", ""}}}), "0.001")
      << "an empty variable is none";
}

// -q takes no value, -c does: "-qc FILE" names both.
TEST_F(ArgumentsTest, ConfigFileBehindAFlagWithoutAValue) {
  write_file(folder_ / "recipe.toml", "lr = 0.25\n");
  EXPECT_EQ(recorded("lr", {"-qc", "recipe.toml"}), "0.25");
  EXPECT_EQ(recorded("lr", {"-qcrecipe.toml"}), "0.25");
  expect_error({"train", "-d", "photos", "-qc", "nowhere.toml"}, 2, {"nowhere.toml"});
}

TEST_F(ArgumentsTest, AResumedRunTakesNoOtherRecipe) {
  EXPECT_EQ(recorded("lr", {}), "0.001");
  expect_error({"train", "--resume", "run0", "-c", "nowhere.toml"}, 2,
               {"--config", "nowhere.toml", "run0/config.toml"});
}

TEST_F(ArgumentsTest, ListsOfTheWrongLength) {
  const Arguments train = Arguments{"train", "-d", "photos", "--dry-run"} + small_model();
  expect_error(train + Arguments{"--scale", "0.5"}, 2, {"--scale"});
  expect_error(train + Arguments{"--ratio", "1"}, 2, {"--ratio"});
  expect_error(train + Arguments{"--color-jitter", "0.4"}, 2, {"--color-jitter"});
  expect_error(train + Arguments{"--in-chans", "2"}, 2, {"--in-chans", "2", "grey"});
}

TEST_F(ArgumentsTest, AliasesAreOneOption) {
  write_file(folder_ / "recipe.toml", "wd = 0.25\n");
  EXPECT_EQ(recorded("weight-decay", {"-c", "recipe.toml"}), "0.25");
  EXPECT_EQ(recorded("weight-decay", {"-c", "recipe.toml", "--weight-decay", "0.5"}), "0.5");
  EXPECT_EQ(recorded("weight-decay", {"--weight-decay", "0.5"}, {.environment = {{"VRETNET_WD", "0.125"}}}),
            "0.5");
}

TEST_F(ArgumentsTest, ListsReplaceLists) {
  write_file(folder_ / "recipe.toml", "mean = [0.1, 0.2,\n  0.3]  # of the data\nscale = [0.5, 1.0]\n");
  EXPECT_EQ(recorded("mean", {"-c", "recipe.toml"}), "\"0.1,0.2,0.3\"");
  EXPECT_EQ(recorded("mean", {"-c", "recipe.toml", "--mean", "0.4,0.5,0.6"}), "\"0.4,0.5,0.6\"");
  EXPECT_EQ(recorded("mean", {"-c", "recipe.toml"}, {.environment = {{"VRETNET_MEAN", "0.7"}}}), "0.7");
  EXPECT_EQ(recorded("scale", {"-c", "recipe.toml"}), "\"0.5,1\"");
  EXPECT_EQ(recorded("scale", {"-c", "recipe.toml", "--scale", "0.25,0.75"}), "\"0.25,0.75\"");
}

TEST_F(ArgumentsTest, ConfigFileMayHaveASectionForTheCommand) {
  write_file(folder_ / "recipe.toml", "lr = 0.25\n[train]\nepochs = 1\nsmoothing = 0.5\n");
  EXPECT_EQ(recorded("smoothing", {"-c", "recipe.toml"}), "0.5");
}

TEST_F(ArgumentsTest, FolderNamesWithOddLettersSurviveTheFile) {
  const std::string odd = "photos #2, \"my\" c\\d";
  fs::rename(folder_ / "photos", folder_ / odd);
  const Arguments model = small_model() + Arguments{"-t", "1", "--epochs", "1"};
  ASSERT_EQ(vretnet(Arguments{"train", "-d", odd, "-o", "first"} + model).exit_code, 0);
  const ProgramResult again = vretnet({"train", "-c", "first/config.toml", "-o", "second"});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(text_of_file(folder_ / "first/config.toml"), text_of_file(folder_ / "second/config.toml"));
}

TEST_F(ArgumentsTest, WrongConfigFiles) {
  const auto expect_refused = [&](const std::string& text, const std::vector<std::string>& words) {
    write_file(folder_ / "recipe.toml", text);
    expect_error({"train", "-d", "photos", "-c", "recipe.toml"}, 2, words);
  };
  expect_refused("lr = 0.1\nbatch_size = 4\n",
                 {"recipe.toml:2", "unknown key 'batch_size'", "Did you mean 'batch-size'?"});
  expect_refused("epoch = 4\n", {"recipe.toml:1", "'epoch'", "Did you mean 'epochs'?"});
  expect_refused("config = \"x\"\n", {"unknown key 'config'"});
  expect_refused("[eval]\nlr = 1\n", {"recipe.toml:2", "[eval]"});
  expect_refused("model = vretnet_nano\n", {"recipe.toml:1", "not TOML", "value"});
  expect_refused("model = \"vretnet\nlr = 1\n", {"recipe.toml:1", "not TOML", "string"});
  expect_refused("lr = 1 2\n", {"recipe.toml:1", "not TOML", "'2'"});
  expect_refused("lr = 0.1\n\nlr = 0.2\n", {"recipe.toml:3", "redefine", "'lr'"});
  expect_refused("mean = [0.1, 0.2\n", {"recipe.toml"});
  expect_refused("epochs\n", {"recipe.toml:1", "not TOML", "'='"});
  expect_refused("lr = \n", {"recipe.toml:1"});
  expect_refused("epochs = \"many\"\n", {"--epochs", "many"});
  expect_error({"train", "-d", "photos", "-c", "nothing.toml"}, 2, {"nothing.toml", "cannot be read"});
}

TEST_F(ArgumentsTest, DidYouMean) {
  expect_error({"trian"}, 2, {"unknown command 'trian'", "Did you mean 'train'?"});
  expect_error({"data", "chek", "photos"}, 2, {"unknown command 'chek'", "Did you mean 'check'?"});
  expect_error({"train", "-d", "photos", "--epoch", "3"}, 2, {"'--epoch'", "Did you mean '--epochs'?"});
  expect_error({"train", "-d", "photos", "--epcohs=3"}, 2, {"'--epcohs'", "Did you mean '--epochs'?"});
  expect_error({"train", "-d", "photo"}, 2, {"--data-dir: 'photo' does not exist", "Did you mean 'photos'?"});
  expect_error({"train", "-d", "photos", "-m", "vretnet_nano_patch4_23"}, 2, {"vretnet_nano_patch4_32"});
  expect_error({"info", "vit_tiny_patch16_22"}, 2, {"Did you mean 'vit_tiny_patch16_224'?"});
  expect_error({"eval", "-m", write_model().string(), "-d", "photo"}, 2, {"Did you mean 'photos'?"});
  expect_error({"data", "stats", "photo"}, 2, {"Did you mean 'photos'?"});
  fs::create_directories(folder_ / "runs/train-1");
  expect_error({"train", "--resume", "runs/tran-1"}, 2, {"Did you mean 'runs/train-1'?"});
}

TEST_F(ArgumentsTest, WrongValuesAreUsageErrors) {
  expect_error({"train"}, 2, {"--data-dir"});
  expect_error({"predict", "a.png"}, 2, {"--model"});
  expect_error({"predict", "-m", "nothing.safetensors", "a.png"}, 2, {"nothing.safetensors"});
  expect_error({"data"}, 2, {"'data' needs one of its commands: check, stats, split, import"});
  expect_error({"--epochs", "3"}, 2, {"'--epochs' comes after a command (train): vretnet train --epochs 3"});
  expect_error({"info", write_model().string(), "--depth", "3"}, 2, {"--depth", "is a model file"});
  expect_error({"models", "extra"}, 2, {"'extra'"});
  const auto expect_refused = [&](const Arguments& flags, const std::vector<std::string>& words) {
    expect_error(Arguments{"train", "-d", "photos"} + flags, 2, words);
  };
  expect_refused({"--epochs", "0"}, {"--epochs", "0"});
  expect_refused({"--epochs", "many"}, {"--epochs", "many"});
  expect_refused({"--batch-size", "-1"}, {"--batch-size", "-1"});
  expect_refused({"--lr", "nan"}, {"--lr", "nan"});
  expect_refused({"--smoothing", "nan"}, {"--smoothing", "nan"});
  expect_refused({"--color-jitter", "0,0,nan,0"}, {"--color-jitter", "nan"});
  expect_refused({"--sched", "cosin"}, {"--sched", "cosine"});
  expect_refused({"--mean", "0.1,0.2"}, {"--mean", "2"});
  expect_refused({"--scale", "0.9,0.1"}, {"--scale"});
  expect_refused({"--val-split", "1.5"}, {"--val-split", "1.5"});
  expect_refused({"--device", "cuda:first"}, {"--device", "cuda:first"});
  expect_refused({"--img-size", "17"}, {"--img-size: image_size is 17", "patch_size 4"});
  expect_refused({"--heads", "7"}, {"--heads: heads is 7"});
  expect_refused({"--patch-size", "5"}, {"--patch-size: image_size is 32", "patch_size 5"});
  expect_refused({"--lr", "abc"}, {"--lr", "'abc' is not a number"});
  expect_refused({"--epochs", "1.5"}, {"--epochs", "'1.5' is not a whole number"});
  expect_refused({"--seed", "-1"}, {"--seed", "-1"});
  expect_refused({"--warmup-epochs", "100"}, {"--warmup-epochs: 100", "--epochs"});
  expect_refused({"--auto-augment", "augmix-m3"}, {"--auto-augment: 'augmix-m3'", "rand-m9"});
  expect_refused({"--aa", "rand-m9-q3"}, {"--auto-augment: 'rand-m9-q3': 'q3'"});
  expect_refused({"--aa", "rand-m9.5"}, {"'m9.5'", "a whole number 0 … 100"});
  expect_refused({"--reprob", "2"}, {"--reprob", "2"});
  expect_refused({"--remode", "noise"}, {"--remode", "noise"});
  expect_refused({"--mixup", "-1"}, {"--mixup", "-1"});
  expect_refused({"--cutmix", "nan"}, {"--cutmix", "nan"});
  expect_refused({"--mixup-prob", "1.5"}, {"--mixup-prob", "1.5"});
  expect_refused({"--patience", "-1"}, {"--patience", "-1"});
  expect_refused({"--cooldown-epochs", "0.5"}, {"--cooldown-epochs", "'0.5' is not a whole number"});
  expect_refused({"--class-weights", "inverse"}, {"--class-weights", "inverse", "none, inv, sqrt-inv"});
  expect_refused({"--resume", "photos"}, {"--resume", "last.state.safetensors"});
  EXPECT_FALSE(fs::exists(folder_ / "runs")) << "a refused command leaves no run folder";
}

TEST_F(ArgumentsTest, APlaceOtherThanTheCommandLineIsNamed) {
  const Arguments train = {"train", "-d", "photos", "-n"};
  expect_error(train, 2, {"VRETNET_LR: --lr: 'abc' is not a number"},
               {.environment = {{"VRETNET_LR", "abc"}}});
  expect_error(train, 2, {"VRETNET_HEADS: --heads: heads is 7"}, {.environment = {{"VRETNET_HEADS", "7"}}});
  write_file(folder_ / "recipe.toml", "epochs = 2\nlr = \"abc\"\n");
  expect_error(train + Arguments{"-c", "recipe.toml"}, 2, {"recipe.toml:2: --lr: 'abc'"});
  const ProgramResult right =
      vretnet(train + Arguments{"--lr", "0.1"}, {.environment = {{"VRETNET_LR", "abc"}}});
  EXPECT_EQ(right.exit_code, 0) << "the command line beats the variable: " << right.err;
}

TEST_F(ArgumentsTest, UnknownVariablesAreNamed) {
  const ProgramResult result =
      vretnet({"models"}, {.environment = {{"VRETNET_BACH_SIZE", "3"}, {"VRETNET_LR", "3"}}});
  EXPECT_EQ(result.exit_code, 0) << "a warning only";
  EXPECT_THAT(result.err, HasSubstr("VRETNET_BACH_SIZE"));
  EXPECT_THAT(result.err, HasSubstr("Did you mean 'VRETNET_BATCH_SIZE'?"));
  EXPECT_THAT(result.err, Not(HasSubstr("VRETNET_LR"))) << "another command's";
}

TEST_F(ArgumentsTest, AShortRunHasAShortWarmUp) {
  EXPECT_EQ(recorded("warmup-epochs", {}), "0.25");
  EXPECT_EQ(recorded("warmup-epochs", {"--warmup-epochs", "0.5"}), "0.5");
}

TEST_F(ArgumentsTest, BoundsAreReadable) {
  for (const Arguments& wrong :
       {Arguments{"train", "-d", "photos", "--limit-train", "-1"},
        Arguments{"train", "-d", "photos", "--limit-val", "-1"},
        Arguments{"train", "-d", "photos", "--save-every-steps", "-1"},
        Arguments{"predict", "-m", write_model().string(), "--max-pixels", "0", "photos/ant/00.png"}}) {
    const ProgramResult result = vretnet(wrong);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_LT(result.err.size(), 120u) << result.err;
  }
}

TEST_F(ArgumentsTest, DryRunWritesNothing) {
  const ProgramResult result = vretnet(small_recipe() + Arguments{"--dry-run"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("dry run"));
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
}

}  // namespace
}  // namespace vretnet::tools
