// The run folder is a contract: which files it has, and that they give the run back.
#include "tests/tools/support.h"
#include "tests/tools/xml.h"

namespace vretnet::tools {
namespace {

class RunFolderTest : public ToolTest {};

std::set<std::string> files_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    names.insert(entry.path().filename());
  return names;
}

// All but timing.json are the same bytes for every run of a recipe.
std::set<std::string> repeatable_files_in(const fs::path& folder) {
  std::set<std::string> names = files_in(folder);
  names.erase("timing.json");
  return names;
}

const std::set<std::string> kFiles = {"config.toml",      "metrics.csv",      "metrics.jsonl",
                                      "best.safetensors", "last.safetensors", "classes.json",
                                      "env.json",         "confusion.csv",    "confusion.svg",
                                      "per_class.csv",    "top_losses.csv",   "last.state.safetensors",
                                      "timing.json"};

TEST_F(RunFolderTest, HoldsTheFilesOfTheContract) {
  write_photos();
  const ProgramResult run = vretnet(small_recipe());
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const fs::path folder = folder_ / "runs/train-1";
  EXPECT_EQ(files_in(folder), kFiles);
  EXPECT_EQ(json::parse(text_of_file(folder / "classes.json")), json({"ant", "bee", "cat"}));
  const json environment = json::parse(text_of_file(folder / "env.json"));
  for (const char* key : {"version", "processor", "backend"}) EXPECT_TRUE(environment.contains(key)) << key;
  EXPECT_THAT(environment.at("backend").get<std::string>(), HasSubstr("oneDNN"))
      << "a library and its version";
  const std::vector<std::string> csv = lines_of(text_of_file(folder / "metrics.csv")),
                                 rows = lines_of(text_of_file(folder / "metrics.jsonl"));
  ASSERT_EQ(csv.size(), 4u);
  ASSERT_EQ(rows.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    const json row = json::parse(rows[i]);
    EXPECT_EQ(row.at("epoch"), i + 1);
    EXPECT_EQ(row.at("step"), 5 * (i + 1)) << "42 images in batches of 8, the last one dropped";
    EXPECT_TRUE(csv[i + 1].starts_with(std::to_string(i + 1) + "," + std::to_string(5 * (i + 1)) + ","));
  }
  expect_well_formed(text_of_file(folder / "confusion.svg"));
  const json timing = json::parse(text_of_file(folder / "timing.json"));
  EXPECT_EQ(timing.at("images"), 3 * 40);
  EXPECT_GT(timing.at("training_seconds"), 0);
  EXPECT_GT(timing.at("validation_seconds"), 0);
  EXPECT_LT(timing.at("training_seconds").get<double>() + timing.at("validation_seconds").get<double>(),
            std::chrono::duration<double>(run.time).count());

  // The summary is the best epoch's row, and best.safetensors is the model that it measured.
  const json best = json::parse(run.out);
  double top1 = -1;
  for (const std::string& row : rows) top1 = std::max(top1, json::parse(row).at("val_top1").get<double>());
  EXPECT_EQ(best.at("top1").get<double>(), top1);
  const json row = json::parse(rows.at(best.at("epoch").get<std::size_t>() - 1));
  EXPECT_EQ(row.at("val_loss"), best.at("loss"));
  ASSERT_EQ(vretnet(small_recipe("1") + Arguments{"-q"}).exit_code, 0);
  EXPECT_TRUE(fs::exists(folder_ / "runs/train-2")) << "the next free number";
}

TEST_F(RunFolderTest, EvalOfTheBestModelGivesItsNumbers) {
  write_photos(10, "data/train");
  write_photos(6, "data/val");
  Arguments recipe = small_recipe();
  recipe[2] = "data";
  const ProgramResult run = vretnet(recipe + Arguments{"-o", "run"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json best = json::parse(run.out);
  const ProgramResult eval =
      vretnet({"eval", "-m", "run/best.safetensors", "-d", "data", "-t", "1", "-b", "8", "--format", "json"});
  ASSERT_EQ(eval.exit_code, 0) << eval.err;
  const json report = json::parse(eval.out);
  EXPECT_EQ(report.at("top1"), best.at("top1"));
  EXPECT_EQ(report.at("loss"), best.at("loss"));
}

// With a crop whose bounds have no short decimal form, so that a rounded default would show.
TEST_F(RunFolderTest, ConfigRunsAgainAndGivesTheSameBytes) {
  write_photos();
  const Arguments odd = {"--crop",         "resized",          "--ema",        "0.9",
                         "--color-jitter", "0.3,0.2,0.1,0.05", "--mean",       "0.3333333",
                         "--lr",           "0.00123456789",    "--accumulate", "2"};
  ASSERT_EQ(vretnet(small_recipe() + odd + Arguments{"-o", "first"}).exit_code, 0);
  const ProgramResult again = vretnet({"train", "-c", "first/config.toml", "-t", "1", "-o", "second"});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  for (const std::string& name : repeatable_files_in(folder_ / "first")) {
    EXPECT_TRUE(text_of_file(folder_ / "first" / name) == text_of_file(folder_ / "second" / name)) << name;
  }
}

TEST_F(RunFolderTest, CheckpointedActivationsDoNotChangeTheRun) {
  write_photos();
  for (const char* model : {"vretnet_pico_patch4_28_local", "vit_pico_patch4_28"}) {
    const Arguments recipe =
        small_recipe("1") + Arguments{"-m", model, "--drop-path", "0.3", "--layer-scale", "0.1"};
    const std::string kept = std::string(model) + "-kept", again = std::string(model) + "-again";
    ASSERT_EQ(vretnet(recipe + Arguments{"-o", kept}).exit_code, 0);
    ASSERT_EQ(vretnet(recipe + Arguments{"--checkpoint-activations", "-o", again}).exit_code, 0);
    for (const std::string& name : repeatable_files_in(folder_ / kept)) {
      EXPECT_TRUE(text_of_file(folder_ / kept / name) == text_of_file(folder_ / again / name)) << name;
    }
  }
}

TEST_F(RunFolderTest, WorkersDoNotChangeTheRun) {
  write_photos();
  for (const char* workers : {"0", "1", "4"}) {
    ASSERT_EQ(
        vretnet(small_recipe("2") + Arguments{"-j", workers, "-o", std::string("run") + workers}).exit_code,
        0);
    for (const std::string& name : repeatable_files_in(folder_ / "run0")) {
      EXPECT_TRUE(text_of_file(folder_ / "run0" / name) ==
                  text_of_file(folder_ / (std::string("run") + workers) / name))
          << name << " with " << workers;
    }
  }
}

TEST_F(RunFolderTest, UnreadableImagesAreWrittenDown) {
  write_photos(60);
  write_file(folder_ / "photos/bee/07.png", "not a picture");
  const ProgramResult run = vretnet(small_recipe("1") + Arguments{"-o", "run"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::vector<std::string> skipped = lines_of(text_of_file(folder_ / "run/skipped.csv"));
  ASSERT_EQ(skipped.size(), 2u);
  EXPECT_EQ(skipped[0], "file,reason");
  EXPECT_TRUE(skipped[1].starts_with((fs::canonical(folder_) / "photos/bee/07.png,").string())) << skipped[1];
  EXPECT_THAT(run.err, HasSubstr("run/skipped.csv"));
}

TEST_F(RunFolderTest, TooManyUnreadableImagesStopTheRun) {
  write_photos(10);
  for (const char* name : {"01.png", "02.png", "03.png"})
    write_file(folder_ / "photos/bee" / name, "no picture");
  EXPECT_EQ(vretnet(small_recipe("1") + Arguments{"-o", "few"}).exit_code, 0) << "a few stop nothing";
  const std::string move =
      "vretnet data check " + fs::canonical(folder_ / "photos").string() + " --fix move:OUT";
  expect_error(small_recipe("1") + Arguments{"-o", "run", "--max-skip-share", "0"}, 3,
               {"photos/bee/0", "cannot be read, allowed are 0", move});
}

TEST_F(RunFolderTest, FilesThatAreNoImagesAreCounted) {
  write_photos(4);
  EXPECT_THAT(vretnet(small_recipe("1") + Arguments{"-n"}).err, Not(HasSubstr("passed over")));
  for (const char* name : {"ant/a.heic", "ant/b.heic", "bee/c.HEIC", "bee/notes"}) {
    write_file(folder_ / "photos" / name, "x");
  }
  EXPECT_THAT(vretnet(small_recipe("1") + Arguments{"-n"}).err,
              HasSubstr("4 files passed over (.HEIC, .heic, no extension)"));
}

TEST_F(RunFolderTest, NoValidationAtAll) {
  write_photos(6);
  const ProgramResult run = vretnet(small_recipe("2") + Arguments{"--val-split", "0", "-o", "run"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(fs::exists(folder_ / "run/best.safetensors"));
  EXPECT_EQ(json::parse(run.out).at("epoch"), 2) << "the newest";
}

TEST_F(RunFolderTest, AnotherRunIsNotOverwritten) {
  write_photos(6);
  ASSERT_EQ(vretnet(small_recipe("1") + Arguments{"-o", "run"}).exit_code, 0);
  const std::string before = text_of_file(folder_ / "run/last.state.safetensors");
  expect_error(small_recipe("1") + Arguments{"-o", "run"}, 2, {"--output", "'run'", "--resume run"});
  EXPECT_TRUE(text_of_file(folder_ / "run/last.state.safetensors") == before);
}

TEST_F(RunFolderTest, FineTuningKeepsTheFilesPreprocessing) {
  write_photos(4);
  vision::Classifier file = vision::load_classifier(write_model());
  file.description.preprocessing.mean = {0.5f, 0.25f, 0.125f};
  file.description.preprocessing.deviation = {0.5f, 0.5f, 0.75f};
  file.description.preprocessing.crop_fraction = 0.9;
  file.description.preprocessing.interpolation = vision::Interpolation::Bilinear;
  vision::save_classifier(folder_ / "own.safetensors", file.description, file.model->parameters(),
                          file.values);
  const auto tuned = [&](const std::string& run, const Arguments& flags) {
    const ProgramResult result = vretnet(
        Arguments{"train", "-d", "photos", "-m", "own.safetensors", "-b", "8", "--epochs", "1", "-o", run} +
        flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return vision::load_classifier(folder_ / run / "last.safetensors").description.preprocessing;
  };
  const vision::Preprocessing expected = file.description.preprocessing;
  const vision::Preprocessing same = tuned("same", {});
  EXPECT_EQ(vision::to_json(same), vision::to_json(expected));
  vision::Preprocessing changed = expected;
  changed.mean = {0.25f, 0.25f, 0.25f};
  changed.interpolation = vision::Interpolation::Bicubic;
  changed.height = changed.width = 32;
  EXPECT_EQ(
      vision::to_json(tuned("changed", {"--mean", "0.25", "--interpolation", "bicubic", "--img-size", "32"})),
      vision::to_json(changed));
}

TEST_F(RunFolderTest, FineTuningAtAnotherSizeResamplesPositions) {
  write_photos(4);
  Arguments twin = small_recipe("1") + Arguments{"-m", "vit_pico_patch4_28"};
  ASSERT_EQ(vretnet(twin + Arguments{"-o", "small"}).exit_code, 0);
  const Arguments larger = {"train",    "-d", "photos",     "-m", "small/best.safetensors", "-b", "8",
                            "--epochs", "1",  "--img-size", "24"};
  const ProgramResult result = vretnet(larger + Arguments{"-o", "large"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("positions of 4 × 4 patches resampled to 6 × 6"));
}

TEST_F(RunFolderTest, FineTuningAtAnotherSizeStretchesDecays) {
  write_photos(4);
  const auto tuned = [&](const std::string& model, const std::string& run, const Arguments& flags) {
    const ProgramResult result = vretnet(
        Arguments{"train", "-d", "photos", "-m", model, "-t", "1", "-b", "8", "--epochs", "1", "-o", run} +
        flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return std::pair(vision::load_classifier(folder_ / run / "last.safetensors").description.config.base_grid,
                     result.err);
  };
  const std::array<std::int64_t, 2> none{0, 0}, first{4, 4}, own{6, 6};
  const std::string model = write_model().string();
  EXPECT_EQ(tuned(model, "same", {}).first, none);
  const auto [grid, said] = tuned(model, "larger", {"--img-size", "24"});
  EXPECT_EQ(grid, first);
  EXPECT_THAT(said, HasSubstr("decays and rotations of 4 × 4 patches stretched to 6 × 6"));
  EXPECT_EQ(tuned("larger/last.safetensors", "largest", {"--img-size", "32"}).first, first);
  EXPECT_EQ(tuned(model, "unscaled", {"--img-size", "24", "--base-grid", "6"}).first, own);
  EXPECT_FALSE(text_of_file(folder_ / "larger/last.safetensors") ==
               text_of_file(folder_ / "unscaled/last.safetensors"));
  const ProgramResult resumed = vretnet({"train", "--resume", "larger"});
  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
}

TEST_F(RunFolderTest, FineTuningStartsFromAModelFile) {
  write_photos(6);
  const std::string model = write_model().string();
  ASSERT_EQ(
      vretnet({"train", "-d", "photos", "-m", model, "-t", "1", "-b", "8", "--epochs", "1", "-o", "same"})
          .exit_code,
      0);
  fs::rename(folder_ / "photos/ant", folder_ / "photos/dog");
  write_photo(folder_ / "photos/elk/00.png", 1, 77, 9, 9);
  write_photo(folder_ / "photos/elk/01.png", 1, 78, 9, 9);
  const ProgramResult other =
      vretnet({"train", "-d", "photos", "-m", model, "-t", "1", "-b", "8", "--epochs", "1", "-o", "other"});
  ASSERT_EQ(other.exit_code, 0) << other.err;
  EXPECT_THAT(other.err, HasSubstr("head starts anew"));
  expect_error({"train", "-d", "photos", "-m", model, "--width", "64", "-o", "wide"}, 2, {model, "64"});
}

}  // namespace
}  // namespace vretnet::tools
