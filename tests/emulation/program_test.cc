// The program itself with `--device cuda`: a copy of it beside which the emulated backend lies as the module
// that it loads (core/backends/cuda_module.h). What every command answers is compared with its answer on the
// CPU.
#include <algorithm>
#include <cmath>
#include <csignal>

#include "tests/tools/support.h"

namespace vretnet::tools {
namespace {

constexpr double kBoundInBf16 =
    0.01;  // of a loss, relative: two blocks of activations with 8 bits of precision
const std::vector<std::string> kPrecisions{"f32", "bf16"};

class EmulatedProgram : public ToolTest {
 protected:
  static Arguments cuda(const std::string& precision) {
    return {"--device", "cuda", "--precision", precision};
  }
  json parsed(const Arguments& arguments) const {
    const ProgramResult result = vretnet(arguments);
    EXPECT_EQ(result.exit_code, 0) << ::testing::PrintToString(arguments) << result.err;
    return result.exit_code == 0 ? json::parse(result.out) : json();
  }
  std::vector<json> epochs_of(const std::string& run) const {
    std::vector<json> rows;
    for (const std::string& line : lines_of(text_of_file(folder_ / run / "metrics.jsonl"))) {
      rows.push_back(json::parse(line));
    }
    return rows;
  }
  static void expect_near(const json& row, const json& expected, const std::string& key, double bound) {
    const double value = expected.at(key);
    EXPECT_NEAR(row.at(key).get<double>(), value, bound * std::abs(value)) << key;
  }
};

// Epochs on one device and on two have the losses of the CPU; what one wrote, the other goes on with.
TEST_F(EmulatedProgram, Trains) {
  write_photos(8);
  ASSERT_EQ(vretnet(small_recipe("2") + Arguments{"-o", "cpu"}).exit_code, 0);
  const std::vector<json> expected = epochs_of("cpu");
  ASSERT_EQ(expected.size(), 2u);
  for (const std::string device : {"cuda", "cuda:0,1"}) {
    for (const std::string& precision : kPrecisions) {
      SCOPED_TRACE(device + " " + precision);
      const std::string run = device + "-" + precision;
      const ProgramResult result =
          vretnet(small_recipe("2") + Arguments{"-o", run, "--device", device, "--precision", precision});
      ASSERT_EQ(result.exit_code, 0) << result.err;
      EXPECT_THAT(result.err, HasSubstr("emulated H100"));
      EXPECT_THAT(result.err, HasSubstr("  " + precision + "\n"));
      const std::vector<json> rows = epochs_of(run);
      ASSERT_EQ(rows.size(), 2u);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        for (const char* key : {"train_loss", "val_loss"}) {
          expect_near(rows[i], expected[i], key, precision == "f32" ? 1e-4 : kBoundInBf16);
        }
      }
    }
  }
  EXPECT_NE(epochs_of("cuda-bf16")[0].at("train_loss"), epochs_of("cuda-f32")[0].at("train_loss"))
      << "nothing was rounded";
}

TEST_F(EmulatedProgram, ARunThatWasStoppedGoesOnOnTheOtherMachine) {
  write_photos(8);
  const Arguments recipe = small_recipe("3"), on_gpu{"--device", "cuda"}, on_cpu{"--device", "cpu"};
  ASSERT_EQ(vretnet(recipe + Arguments{"-o", "whole"}).exit_code, 0);
  for (const bool gpu_first : {true, false}) {
    SCOPED_TRACE(gpu_first ? "from the GPU to the CPU" : "from the CPU to the GPU");
    const std::string run = gpu_first ? "from" : "to";
    ProgramOptions stop{.signal = SIGINT};
    stop.signal_when = [this, run] { return epochs_of(run).size() >= 1; };
    const ProgramResult first = vretnet(recipe + (gpu_first ? on_gpu : on_cpu) + Arguments{"-o", run}, stop);
    ASSERT_EQ(first.exit_code, 130) << first.err;
    const ProgramResult second = vretnet(Arguments{"train", "--resume", run} + (gpu_first ? on_cpu : on_gpu));
    ASSERT_EQ(second.exit_code, 0) << second.err;
    ASSERT_EQ(epochs_of(run).size(), 3u);
    for (const char* key : {"train_loss", "val_loss"}) {
      expect_near(epochs_of(run)[2], epochs_of("whole")[2], key, 1e-4);
    }
  }
}

TEST_F(EmulatedProgram, EvaluatesAndPredicts) {
  write_photos(4);
  const std::string model = write_model().string();
  const Arguments eval{"eval", "-m", model, "-d", "photos", "--split", "all", "-b", "5", "--format", "json"};
  const Arguments predict{"predict",    "-m",       model,  "photos/ant", "photos/bee",
                          "photos/cat", "--format", "json", "-k",         "3"};
  const json report = parsed(eval), answers = parsed(predict);
  ASSERT_EQ(answers.size(), 12u);
  for (const std::string& precision : kPrecisions) {
    SCOPED_TRACE(precision);
    const json on_gpu = parsed(eval + cuda(precision));
    expect_near(on_gpu, report, "loss", precision == "f32" ? 1e-5 : kBoundInBf16);
    EXPECT_EQ(on_gpu.at("images"), 12);
    const json answers_on_gpu = parsed(predict + cuda(precision));
    ASSERT_EQ(answers_on_gpu.size(), answers.size());
    double largest = 0;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      EXPECT_EQ(answers_on_gpu[i].at("file"), answers[i].at("file"));
      if (precision == "f32") {
        EXPECT_EQ(answers_on_gpu[i].at("label"), answers[i].at("label"));
      }
      largest = std::max(largest, std::abs(answers_on_gpu[i].at("probability").get<double>() -
                                           answers[i].at("probability").get<double>()));
    }
    EXPECT_LE(largest, precision == "f32" ? 2e-4 : 0.02);
  }
}

TEST_F(EmulatedProgram, BenchNamesTheGpuAndItsPrecision) {
  for (const bool training : {false, true}) {
    Arguments bench =
        Arguments{"bench", "--device",   "cuda",  "--precision", "f32,bf16", "-b",       "2",    "-r",
                  "2",     "--min-time", "0.001", "--progress",  "off",      "--format", "json", "--ops"} +
        small_model();
    if (training) bench.push_back("--train");
    const json rows = parsed(bench).at("rows");
    ASSERT_EQ(rows.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(rows[i].at("precision"), kPrecisions[i]);
      EXPECT_EQ(rows[i].at("mode"), training ? "train" : "inference");
      EXPECT_GT(rows[i].at("ms_best"), 0);
      EXPECT_FALSE(rows[i].at("ops").empty());
    }
  }
}

TEST_F(EmulatedProgram, SelfcheckRunsTheTableOnIt) {
  for (const std::string& precision : kPrecisions) {
    const ProgramResult result = vretnet(Arguments{"selfcheck", "--filter", "LayerNorm/"} + cuda(precision));
    EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
    EXPECT_THAT(result.out, HasSubstr("emulated H100"));
    EXPECT_THAT(result.out, HasSubstr(" passed, 0 failed"));
  }
}

// In a step that two threads queue, as in one's. The values of classic heads are twice as wide as their keys.
TEST_F(EmulatedProgram, HeadsThatAreTooWideAreOneLine) {
  write_photos(8);
  for (const std::string device : {"cuda", "cuda:0,1"}) {
    const ProgramResult result =
        vretnet(small_recipe("1") +
                Arguments{"-o", "wide-" + device, "--device", device, "--width", "512", "--heads", "1"});
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_THAT(result.err, HasSubstr("RetentionGradient with heads of 1024 values needs "));
    EXPECT_THAT(result.err,
                HasSubstr(" KiB of shared memory a block, of which emulated H100 gives 227.0; a model of the "
                          "same width with more heads (--heads) has narrower ones"));
  }
}

TEST_F(EmulatedProgram, WhatAGpuCannotBeAskedIsOneLine) {
  write_photos(2);
  const std::string model = write_model().string();
  expect_error({"eval", "-m", model, "-d", "photos", "--device", "cuda:7"}, 2, {"--device", "7"});
  expect_error({"eval", "-m", model, "-d", "photos", "--device", "cuda:0,1"}, 2, {"only train"});
  expect_error(Arguments{"train", "-d", "photos", "--device", "cuda", "--precision", "int8"} + small_model(),
               2, {"--precision", "int8"});
}

}  // namespace
}  // namespace vretnet::tools
