// A run that was stopped, in whatever way, and continued ends in the same bytes as one that never was.
#include <csignal>

#include "tests/tools/support.h"

namespace vretnet::tools {
namespace {

using std::chrono::milliseconds;

class ResumeTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    write_photos(40);
    write_file(folder_ / "photos/bee/07.png", "not a picture");  // skipped.csv is part of the contract
  }

  // Everything that has state or is drawn, and a recipe that changes on the way.
  static Arguments recipe(const std::string& run, const std::string& save_every = "1") {
    return small_recipe("3") + Arguments{"-o",
                                         run,
                                         "--crop",
                                         "resized",
                                         "--ema",
                                         "0.9",
                                         "--accumulate",
                                         "2",
                                         "--save-every-steps",
                                         save_every,
                                         "--cooldown-epochs",
                                         "1",
                                         "--auto-augment",
                                         "rand-m9-n2-mstd0.5-inc1",
                                         "--reprob",
                                         "0.5",
                                         "--mixup",
                                         "0.8",
                                         "--cutmix",
                                         "1",
                                         "--mixup-off-epoch",
                                         "2",
                                         "--class-weights",
                                         "sqrt-inv",
                                         "--balanced",
                                         "--drop-path",
                                         "0.3",
                                         "--patience",
                                         "9"};
  }
  static Arguments resume(const std::string& run, const std::string& save_every = "1") {
    return {"train", "--resume", run, "--save-every-steps", save_every};  // -t is the run's own
  }

  ProgramResult whole_run(const Arguments& more = {}) {
    const ProgramResult result = vretnet(recipe("whole") + more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result;
  }

  void expect_same_as_whole(const std::string& run) const {
    std::set<std::string> names, whole_names;
    for (const auto& entry : fs::directory_iterator(folder_ / run)) names.insert(entry.path().filename());
    for (const auto& entry : fs::directory_iterator(folder_ / "whole")) {
      whole_names.insert(entry.path().filename());
    }
    EXPECT_EQ(names, whole_names) << "nothing half-written is left";
    for (const std::string& name : whole_names) {
      if (name == "timing.json") continue;  // no two runs take the same time
      EXPECT_TRUE(text_of_file(folder_ / "whole" / name) == text_of_file(folder_ / run / name)) << name;
    }
  }

  // No *.safetensors of the folder is half-written.
  void expect_whole_files(const std::string& run) const {
    for (const char* name : {"best.safetensors", "last.safetensors"}) {
      if (!fs::exists(folder_ / run / name)) continue;
      const ProgramResult info = vretnet({"info", run + "/" + name});
      EXPECT_EQ(info.exit_code, 0) << info.err;
    }
    if (fs::exists(folder_ / run / "last.state.safetensors")) {
      EXPECT_NO_THROW(model::SafetensorsFile(folder_ / run / "last.state.safetensors"));
    }
  }

  // Where last.state.safetensors stands, counted from the start of the run.
  struct Standing {
    std::int64_t epoch = 0, step = 0, images = 0;
    // As train says it.
    std::string text() const {
      return "epoch " + std::to_string(epoch + 1) + ", step " + std::to_string(step);
    }
  };
  Standing standing(const std::string& run) const {
    const model::SafetensorsFile state(folder_ / run / "last.state.safetensors");
    const json position = json::parse(state.metadata().at("position"));
    Standing result{position.at("epoch"), position.at("step"), position.at("images")};
    result.images += result.epoch * trained_images("whole") / epochs("whole");
    return result;
  }
  std::int64_t epochs(const std::string& run) const {
    return std::int64_t(lines_of(text_of_file(folder_ / run / "metrics.csv")).size()) - 1;
  }
  // By all parts of a run together, those that were trained on twice counted twice.
  std::int64_t trained_images(const std::string& run) const {
    return json::parse(text_of_file(folder_ / run / "timing.json")).at("images");
  }

  // A model that is large enough for two threads to sum otherwise than one.
  inline static const Arguments kSharedWork = {"--width", "64"};

  bool saved(const std::string& run) const { return fs::exists(folder_ / run / "last.state.safetensors"); }
};

TEST_F(ResumeTest, StopsAndContinuesAfterSignals) {
  const ProgramResult whole = whole_run();
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::string run = signal == SIGINT ? "interrupted" : "terminated";
    int stops = 0;
    for (int attempt = 0; attempt < 12; ++attempt) {
      ProgramOptions options{.signal = signal};
      const bool begun = saved(run);
      const auto state = [this, run] {
        std::error_code error;
        return fs::last_write_time(folder_ / run / "last.state.safetensors", error)
            .time_since_epoch()
            .count();
      };
      // After one more step has been saved, so that every attempt comes on.
      options.signal_when = [this, run, begun, state, before = begun ? state() : 0] {
        return saved(run) && (!begun || state() != before);
      };
      options.signal_after = milliseconds(7 * attempt);
      const ProgramResult result = vretnet(begun ? resume(run) : recipe(run), options);
      if (result.exit_code == 0) break;
      ASSERT_EQ(result.exit_code, 130) << result.err << " signal " << result.signal;
      EXPECT_THAT(result.err, HasSubstr("stopping after this step"));
      EXPECT_THAT(result.err, HasSubstr("saved " + run));
      EXPECT_EQ(result.out, "");
      expect_whole_files(run);
      ++stops;
    }
    EXPECT_GE(stops, 2);
    const ProgramResult end = vretnet(resume(run));
    ASSERT_EQ(end.exit_code, 0) << end.err;
    expect_same_as_whole(run);
    const json timing = json::parse(text_of_file(folder_ / run / "timing.json")),
               expected_timing = json::parse(text_of_file(folder_ / "whole/timing.json"));
    EXPECT_EQ(timing.at("images"), expected_timing.at("images")) << "of all parts together";
    EXPECT_GT(timing.at("training_seconds"), 0);
    json line = json::parse(end.out), expected = json::parse(whole.out);
    for (json* each : {&line, &expected}) {
      each->erase("run");
      each->erase("images_per_second");
    }
    EXPECT_EQ(line, expected);
  }
}

TEST_F(ResumeTest, LosesNothingToKillAtTwentyRandomMoments) {
  auto length = whole_run().time;
  Random random(2026);
  constexpr std::int64_t kStepImages = 2 * 8;  // --accumulate, --batch-size
  int kills = 0, kills_while_training = 0;
  std::int64_t steps_kept = 0;
  for (int run_number = 0; kills < 20 && run_number < 40; ++run_number) {
    const std::string run = "killed" + std::to_string(run_number);
    const char* save_every[] = {"1", "2", "3"};
    const char* workers[] = {"0", "1", "4"};
    std::int64_t again = 0;  // images of the steps that a kill had counted, but not saved
    for (;;) {
      const bool begun = saved(run);
      if (!begun) fs::remove_all(folder_ / run);  // died before its first save: nothing to continue
      const Standing before = begun ? standing(run) : Standing();
      const std::string every = save_every[random.below(3)];
      ProgramOptions options{.signal = SIGKILL};
      if (kills >= 20) options.signal = 0;
      options.signal_after = milliseconds(random.below(std::uint64_t(length.count()) * 3 / 4 + 1));
      const ProgramResult result = vretnet(
          (begun ? resume(run, every) : recipe(run, every)) + Arguments{"-j", workers[random.below(3)]},
          options);
      // A run that began anew would end in the same bytes, too: it must go on where the last save stands.
      const bool resumed = result.err.find("resumed ") != std::string::npos;
      if (resumed) {
        EXPECT_TRUE(begun);
        EXPECT_THAT(result.err,
                    HasSubstr("resumed " + run + "/last.state.safetensors: " + before.text() + "\n"));
      }
      if (result.signal == SIGKILL) {
        ++kills;
        expect_whole_files(run);
        if (!saved(run)) continue;
        ++kills_while_training;
        const Standing after = standing(run);
        EXPECT_GE(after.step, before.step);
        steps_kept += before.step;
        // timing.json is written first: a kill between the two counts what is then trained on again.
        const std::int64_t ahead = trained_images(run) - again - after.images;
        EXPECT_GE(ahead, 0);
        EXPECT_LE(ahead, std::stoll(every) * kStepImages) << "more than the steps since the last save";
        again += ahead;
        continue;
      }
      ASSERT_EQ(result.exit_code, 0) << result.err;
      EXPECT_EQ(resumed, begun);
      // The first run may have been slow for reasons of its own: later moments would all miss.
      if (!begun) length = std::min(length, result.time);
      break;
    }
    EXPECT_EQ(trained_images(run), trained_images("whole") + again) << "no saved step is taken again";
    expect_same_as_whole(run);
  }
  EXPECT_GT(steps_kept, 0) << "no kill came after a step that a resume began with";
  EXPECT_GE(kills, 20);
  EXPECT_GE(kills_while_training, 5) << "the moments missed the work";
}

// Threads share sums, each a part of its own, whichever comes first.
TEST_F(ResumeTest, EndsInTheSameBytesOnTwoThreads) {
  const Arguments threads = kSharedWork + Arguments{"-t", "2"};
  whole_run(threads);
  EXPECT_EQ(json::parse(text_of_file(folder_ / "whole/env.json")).at("threads"), 2);
  for (const int signal : {SIGINT, SIGKILL}) {
    const std::string run = signal == SIGINT ? "interrupted" : "killed";
    ProgramOptions options{.signal = signal};
    options.signal_when = [&] { return fs::exists(folder_ / run / "metrics.csv") && epochs(run) >= 1; };
    const ProgramResult stopped = vretnet(recipe(run) + threads, options);
    ASSERT_TRUE(signal == SIGINT ? stopped.exit_code == 130 : stopped.signal == SIGKILL) << stopped.err;
    const Standing before = standing(run);
    EXPECT_GT(before.step, 0);
    const ProgramResult end = vretnet(resume(run));
    ASSERT_EQ(end.exit_code, 0) << end.err;
    EXPECT_THAT(end.err, HasSubstr(before.text() + "\n"));
    EXPECT_THAT(end.err, HasSubstr("2 threads"));
    EXPECT_THAT(end.err, Not(HasSubstr("warning: results may differ")));
    expect_same_as_whole(run);
  }
}

// What is drawn — order, augmentation, mixing, paths dropped — is drawn for an image or a step, not for a
// thread.
TEST_F(ResumeTest, WhatIsDrawnDoesNotDependOnThreads) {
  const auto losses = [&](const std::string& run, const Arguments& flags) {
    const ProgramResult result = vretnet(recipe(run, "0") + kSharedWork + flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::vector<double> values;
    for (const std::string& line : lines_of(text_of_file(folder_ / run / "metrics.jsonl"))) {
      values.push_back(json::parse(line).at("train_loss"));
    }
    return values;
  };
  const std::vector<double> one = losses("one", {"-t", "1", "-j", "1"}),
                            two = losses("two", {"-t", "2", "-j", "4"}),
                            other = losses("other", {"-t", "1", "--seed", "43"});
  ASSERT_GE(one.size(), 3u);
  ASSERT_EQ(two.size(), one.size());
  ASSERT_EQ(other.size(), one.size());
  EXPECT_FALSE(text_of_file(folder_ / "one/last.safetensors") ==
               text_of_file(folder_ / "two/last.safetensors"))
      << "not a bit differs: there was nothing to share";
  double largest = 0;
  for (std::size_t i = 0; i < one.size(); ++i) {
    EXPECT_NEAR(two[i], one[i], 1e-4 * one[i]) << "epoch " << i + 1;
    largest = std::max(largest, std::abs(other[i] - one[i]) / one[i]);
  }
  EXPECT_GT(largest, 5e-3) << "another draw shows in these losses";
}

TEST_F(ResumeTest, AStopWithoutSavesWithinEpochs) {
  whole_run();
  ProgramOptions options{.signal = SIGINT};
  options.signal_when = [this] {
    return lines_of(text_of_file(folder_ / "run/metrics.csv")).size() >= 2;  // a whole epoch is behind
  };
  const ProgramResult stopped = vretnet(recipe("run", "0"), options);
  ASSERT_EQ(stopped.exit_code, 130) << stopped.err;
  ASSERT_EQ(vretnet({"train", "--resume", "run/last.safetensors"}).exit_code, 0) << "a file in it";
  expect_same_as_whole("run");
}

TEST_F(ResumeTest, AClosedTerminalSaves) {
  ProgramOptions options{.signal = SIGHUP};
  options.signal_when = [this] { return saved("run"); };
  const ProgramResult stopped = vretnet(small_recipe("50") + Arguments{"-o", "run"}, options);
  EXPECT_EQ(stopped.exit_code, 130) << "signal " << stopped.signal;
  EXPECT_THAT(stopped.err, HasSubstr("saved run"));
}

TEST_F(ResumeTest, TheNewestRunIsAuto) {
  ASSERT_EQ(vretnet(small_recipe("1")).exit_code, 0);
  ASSERT_EQ(vretnet(small_recipe("2")).exit_code, 0);
  for (const Arguments& flags : {Arguments{"--resume"}, Arguments{"--resume", "auto"}}) {
    const ProgramResult result = vretnet(Arguments{"train"} + flags);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(json::parse(result.out).at("run"), "runs/train-2");
    EXPECT_THAT(result.err, HasSubstr("resumed runs/train-2"));
  }
  EXPECT_EQ(vretnet({"train"}, {.environment = {{"VRETNET_RESUME", "runs/train-1"}}}).exit_code, 0);
}

TEST_F(ResumeTest, ResumingADryRunChangesNothing) {
  ASSERT_EQ(vretnet(small_recipe("1") + Arguments{"-o", "run"}).exit_code, 0);
  const auto before = fs::last_write_time(folder_ / "run/last.state.safetensors");
  ASSERT_EQ(vretnet({"train", "--resume", "run", "-n"}).exit_code, 0);
  EXPECT_EQ(fs::last_write_time(folder_ / "run/last.state.safetensors"), before);
}

TEST_F(ResumeTest, AnotherRecipeOrDamageIsRefused) {
  ASSERT_EQ(vretnet(small_recipe("1") + Arguments{"-o", "run"}).exit_code, 0);
  expect_error({"train", "--resume", "run", "--lr", "0.5"}, 2, {"recipe differs", "lr = 0.5"});
  const std::string csv = text_of_file(folder_ / "run/metrics.csv");
  write_file(folder_ / "run/metrics.csv", csv.substr(0, csv.size() - 3));
  expect_error({"train", "--resume", "run"}, 2, {"run/metrics.csv", "shorter"});
  write_file(folder_ / "run/metrics.csv", csv);
  const std::string state = text_of_file(folder_ / "run/last.state.safetensors");
  write_file(folder_ / "run/last.state.safetensors", state.substr(0, state.size() - 7));
  expect_error({"train", "--resume", "run"}, 2, {"run/last.state.safetensors"});
  fs::copy_file(folder_ / "run/last.safetensors", folder_ / "run/last.state.safetensors",
                fs::copy_options::overwrite_existing);
  expect_error({"train", "--resume", "run"}, 2, {"run/last.state.safetensors", "not a saved training state"});
  fs::remove(folder_ / "run/last.state.safetensors");
  expect_error({"train", "--resume", "run"}, 2, {"run", "nothing was saved"});
}

// Other classes in the data than at the start of the run.
TEST_F(ResumeTest, OtherDataAreRefused) {
  ASSERT_EQ(vretnet(small_recipe("1") + Arguments{"-o", "run"}).exit_code, 0);
  write_photo(folder_ / "photos/dog/00.png", 1, 1, 9, 9);
  write_photo(folder_ / "photos/dog/01.png", 1, 2, 9, 9);
  EXPECT_EQ(vretnet({"train", "--resume", "run"}).exit_code, 2);
  fs::remove_all(folder_ / "photos/dog");
  fs::rename(folder_ / "photos/ant", folder_ / "photos/ape");  // as many, but others
  expect_error({"train", "--resume", "run"}, 2,
               {"run/last.state.safetensors", "ant, bee, cat", "ape, bee, cat"});
  fs::rename(folder_ / "photos/ape", folder_ / "photos/ant");
  write_photo(folder_ / "photos/ant/99.png", 0, 99, 9, 9);
  expect_error({"train", "--resume", "run"}, 2, {"run/last.state.safetensors", "images"});
}

// The data folder and the model that was fine-tuned belong to a run only while it begins.
TEST_F(ResumeTest, GoesOnWhenFoldersHaveMoved) {
  const std::string model = write_model().filename();
  const Arguments recipe = {"train", "-d", "photos", "-m", model, "-t", "1", "-b", "8", "--epochs", "4"};
  ASSERT_EQ(vretnet(recipe + Arguments{"-o", "whole"}).exit_code, 0);
  ProgramOptions stop{.signal = SIGINT};
  stop.signal_when = [this] { return lines_of(text_of_file(folder_ / "run/metrics.csv")).size() >= 2; };
  ASSERT_EQ(vretnet(recipe + Arguments{"-o", "run"}, stop).exit_code, 130);

  fs::remove(folder_ / model);
  fs::create_directories(folder_ / "elsewhere");
  ProgramOptions elsewhere{.folder = folder_ / "elsewhere"};
  const ProgramResult dry = vretnet({"train", "--resume", "../run", "-n"}, elsewhere);
  EXPECT_EQ(dry.exit_code, 0) << dry.err;

  fs::rename(folder_ / "photos", folder_ / "pictures");
  expect_error({"train", "--resume", "run"}, 2,
               {"--data-dir", "photos' does not exist", "Where it has moved: --resume run -d NEW"});
  const ProgramResult end = vretnet({"train", "--resume", "../run", "-d", "../pictures"}, elsewhere);
  ASSERT_EQ(end.exit_code, 0) << end.err;
  const fs::path root = fs::canonical(folder_);
  EXPECT_THAT(end.err, HasSubstr("data-dir was " + (root / "photos").string() + ", is " +
                                 (root / "pictures").string()));
  EXPECT_TRUE(text_of_file(folder_ / "run/last.safetensors") ==
              text_of_file(folder_ / "whole/last.safetensors"));
  EXPECT_THAT(text_of_file(folder_ / "run/config.toml"), HasSubstr((root / "pictures").string()));
  EXPECT_EQ(lines_of(text_of_file(folder_ / "run/skipped.csv")).size(), 2u) << "one broken file, not two";
}

TEST_F(ResumeTest, AFullDiskLeavesTheLastState) {
  whole_run();
  ProgramOptions stop{.signal = SIGINT};
  stop.signal_when = [this] { return lines_of(text_of_file(folder_ / "run/metrics.csv")).size() >= 2; };
  ASSERT_EQ(vretnet(recipe("run"), stop).exit_code, 130);
  const std::string before = text_of_file(folder_ / "run/last.state.safetensors");
  // Room for models, not for the state that a save must write.
  const ProgramResult full = vretnet(resume("run"), {.largest_file = before.size() / 2});
  EXPECT_EQ(full.exit_code, 1) << full.err;
  EXPECT_THAT(full.err, HasSubstr("error: run/last.state.safetensors"));
  EXPECT_THAT(full.err, HasSubstr("cannot write"));
  EXPECT_TRUE(text_of_file(folder_ / "run/last.state.safetensors") == before) << "the old state is intact";
  ASSERT_EQ(vretnet(resume("run")).exit_code, 0);
  expect_same_as_whole("run");
}

TEST_F(ResumeTest, ALossThatIsNotFiniteStopsTheRun) {
  const ProgramResult result =
      vretnet(small_recipe("4") + Arguments{"-o", "run", "--lr", "1e6", "--min-lr", "1e6", "--clip-grad", "0",
                                            "--warmup-epochs", "0", "--weight-decay", "100"});
  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_THAT(result.err, ::testing::ContainsRegex("error: the (validation )?loss is"));
  expect_whole_files("run");
}

}  // namespace
}  // namespace vretnet::tools
