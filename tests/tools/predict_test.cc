#include "tests/support/sanitizers.h"
#include "tests/tools/support.h"

namespace vretnet::tools {
namespace {

class PredictTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    write_photos(3);
    write_photo(folder_ / "photos/deep/er/00.png", 0, 99, 12, 12);
    write_file(folder_ / "broken.png", "hello, not an image");
    model_ = write_model().string();
  }

  std::string model_;
};

TEST_F(PredictTest, JsonLinesAnswerEveryInputInItsOrder) {
  const ProgramResult result =
      vretnet({"predict", "-m", model_, "--format", "jsonl", "-k", "2", "photos/cat/01.png", "broken.png",
               "nothing.png", "photos/ant/00.png"});
  EXPECT_EQ(result.exit_code, 3);
  const std::vector<std::string> lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 4u) << result.out;
  std::vector<std::string> files;
  for (const std::string& line : lines) files.push_back(json::parse(line).at("file"));
  EXPECT_EQ(files, (std::vector<std::string>{"photos/cat/01.png", "broken.png", "nothing.png",
                                             "photos/ant/00.png"}));
  for (const int failed : {1, 2}) {
    const json line = json::parse(lines[std::size_t(failed)]);
    EXPECT_EQ(line.size(), 2u) << line;
    EXPECT_FALSE(line.at("error").get<std::string>().empty());
  }
  // The file's name stands beside the reason, not in it.
  EXPECT_EQ(json::parse(lines[1]).at("error"), "not an image: unknown signature 'hello, n'");
  EXPECT_EQ(json::parse(lines[2]).at("error"), "cannot be read: No such file or directory");
  EXPECT_EQ(result.err, "");
  const json first = json::parse(lines[0]);
  ASSERT_EQ(first.at("top").size(), 2u);
  EXPECT_EQ(first.at("label"), first.at("top")[0].at("label"));
  EXPECT_EQ(first.at("probability"), first.at("top")[0].at("probability"));
  EXPECT_GE(first.at("top")[0].at("probability"), first.at("top")[1].at("probability"));
  EXPECT_TRUE(lines[0].starts_with("{\"file\": ") || lines[0].starts_with("{\"file\":")) << lines[0];
}

TEST_F(PredictTest, TheFourFormatsSayTheSame) {
  const Arguments inputs = {"photos/ant/00.png", "broken.png", "photos/bee/02.png"};
  const auto run = [&](const std::string& format) {
    const ProgramResult result =
        vretnet(Arguments{"predict", "-m", model_, "-k", "3", "--format", format} + inputs);
    EXPECT_EQ(result.exit_code, 3) << format;
    return result;
  };
  const json list = json::parse(run("json").out);
  const std::vector<std::string> json_lines = lines_of(run("jsonl").out), csv = lines_of(run("csv").out),
                                 text = lines_of(run("text").out);
  ASSERT_EQ(list.size(), 3u);
  ASSERT_EQ(json_lines.size(), 3u);
  ASSERT_EQ(text.size(), 3u);
  ASSERT_EQ(csv.size(), 4u);
  EXPECT_EQ(csv[0], "file,label,probability,label2,probability2,label3,probability3,error");
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(json::parse(json_lines[i]), list[i]);
    EXPECT_TRUE(csv[i + 1].starts_with(inputs[i] + ","));
    EXPECT_GE(std::count(csv[i + 1].begin(), csv[i + 1].end(), ','), 7);
    EXPECT_TRUE(text[i].starts_with(inputs[i] + ": ")) << text[i];
    if (i == 1) continue;
    const std::string label = list[i].at("label");
    EXPECT_TRUE(csv[i + 1].starts_with(inputs[i] + "," + label + ",")) << csv[i + 1];
    EXPECT_TRUE(text[i].starts_with(inputs[i] + ": " + label + " ")) << text[i];
    double sum = 0;
    for (const json& each : list[i].at("top")) sum += each.at("probability").get<double>();
    EXPECT_NEAR(sum, 1, 2e-4);
  }
}

TEST_F(PredictTest, UnreadableInputsAreNamedOnStderrInText) {
  const ProgramResult result = vretnet({"predict", "-m", model_, "broken.png"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.err, "error: broken.png: not an image: unknown signature 'hello, n'\n");
  EXPECT_EQ(lines_of(result.out).size(), 1u);
}

TEST_F(PredictTest, FoldersAndListsOnStdin) {
  const auto files_of = [&](const Arguments& arguments, const std::string& input = "") {
    const ProgramResult result =
        vretnet(Arguments{"predict", "-m", model_, "--format", "jsonl"} + arguments, {.stdin_text = input});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::vector<std::string> files;
    for (const std::string& line : lines_of(result.out)) files.push_back(json::parse(line).at("file"));
    return files;
  };
  const std::vector<std::string> ants{"photos/ant/00.png", "photos/ant/01.png", "photos/ant/02.png"};
  EXPECT_EQ(files_of({"photos/ant"}), ants);
  EXPECT_EQ(files_of({"-r", "photos/deep"}), std::vector<std::string>{"photos/deep/er/00.png"});
  EXPECT_EQ(files_of({"-r", "photos"}).size(), 10u);
  EXPECT_EQ(files_of({"-"}, "photos/ant/00.png\nphotos/ant/01.png\r\n\nphotos/ant/02.png"), ants);
  EXPECT_EQ(files_of({"photos/ant/00.png", "-"}, "photos/ant/01.png\nphotos/ant/02.png\n"), ants);
}

// Quoted, so that no shell has expanded them.
TEST_F(PredictTest, PatternsAreExpanded) {
  const auto files_of = [&](const Arguments& inputs, int exit_code = 0, const std::string& lines = "") {
    const ProgramResult result =
        vretnet(Arguments{"predict", "-m", model_, "--format", "jsonl"} + inputs, {.stdin_text = lines});
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    std::vector<std::string> files;
    for (const std::string& line : lines_of(result.out)) files.push_back(json::parse(line).at("file"));
    return files;
  };
  const std::vector<std::string> ants{"photos/ant/00.png", "photos/ant/01.png", "photos/ant/02.png"};
  EXPECT_EQ(files_of({"photos/ant/*.png"}), ants);
  EXPECT_EQ(files_of({"photos/ant/0[0-2].*"}), ants);
  EXPECT_EQ(files_of({"photos/a?t/*.png", "photos/cat/*2.png"}),
            (ants + std::vector<std::string>{"photos/cat/02.png"}));
  EXPECT_EQ(files_of({"photos/a*"}), ants) << "a folder that matches gives its images";

  write_photo(folder_ / "a[0-9].png", 0, 1, 9, 9);
  write_photo(folder_ / "a1.png", 0, 2, 9, 9);
  EXPECT_EQ(files_of({"a[0-9].png"}), std::vector<std::string>{"a[0-9].png"}) << "a file of that very name";
  EXPECT_EQ(files_of({"-"}, 3, "photos/ant/*.png\n"), std::vector<std::string>{"photos/ant/*.png"})
      << "a list names files";
}

// Such a pattern has its line like every input, and the others are answered.
TEST_F(PredictTest, APatternWithoutMatchesIsNamed) {
  const Arguments inputs = {"photos/*.webp", "photos/ant/00.png"};
  const ProgramResult lines = vretnet(Arguments{"predict", "-m", model_, "--format", "jsonl"} + inputs);
  EXPECT_EQ(lines.exit_code, 3);
  ASSERT_EQ(lines_of(lines.out).size(), 2u) << lines.out;
  const json first = json::parse(lines_of(lines.out)[0]);
  EXPECT_EQ(first, (json{{"file", "photos/*.webp"}, {"error", "no file matches this pattern"}}));
  EXPECT_TRUE(json::parse(lines_of(lines.out)[1]).contains("label"));
  const ProgramResult text = vretnet(Arguments{"predict", "-m", model_} + inputs);
  EXPECT_EQ(text.exit_code, 3);
  EXPECT_EQ(text.err, "error: photos/*.webp: no file matches this pattern\n");
}

TEST_F(PredictTest, NoInputIsADataError) {
  fs::create_directories(folder_ / "empty");
  expect_error({"predict", "-m", model_, "empty"}, 3, {"no image"});
  expect_error({"predict", "-m", model_, "-"}, 3, {"no image"});
}

TEST_F(PredictTest, RejectBelowAnswersUnknown) {
  const ProgramResult result =
      vretnet({"predict", "-m", model_, "--format", "jsonl", "--reject-below", "0.999", "photos/ant/00.png"});
  EXPECT_EQ(result.exit_code, 0);
  const json line = json::parse(result.out);
  EXPECT_EQ(line.at("label"), "unknown");
  EXPECT_NE(line.at("top")[0].at("label"), "unknown") << "what it would have been";
}

TEST_F(PredictTest, StreamEqualsTheWholeImage) {
  const std::string causal = write_model("causal.safetensors", "causal").string();
  write_photo(folder_ / "fits.png", 1, 5, 16, 16);
  const auto ask = [&](const Arguments& flags) {
    const ProgramResult result =
        vretnet(Arguments{"predict", "-m", causal, "-k", "3", "--format", "jsonl", "fits.png"} + flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::map<std::string, double> probabilities;
    const json line = json::parse(result.out);
    for (const json& each : line.at("top")) probabilities[each.at("label")] = each.at("probability");
    return probabilities;
  };
  const auto whole = ask({}), streamed = ask({"--stream"});
  ASSERT_EQ(whole.size(), 3u);
  for (const auto& [label, probability] : whole)
    EXPECT_NEAR(streamed.at(label), probability, 1.01e-4) << label;
  // A tall image is read at its own size, in little memory.
  write_photo(folder_ / "tall.png", 1, 6, 64, 20000);
  write_photo(folder_ / "short.png", 1, 6, 64, 64);
  const auto peak = [&](const std::string& image) {
    const ProgramResult result = vretnet({"predict", "-m", causal, "--stream", "-t", "1", image});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.peak_kib;
  };
  const long tall = peak("tall.png"), short_one = peak("short.png");
  if (!testing::kSanitized) {
    EXPECT_LT(tall, short_one + 4 * 1024) << "KiB";
  }
}

TEST_F(PredictTest, StreamNeedsACausalModel) {
  const std::string model = write_model("both.safetensors", "bidirectional").string();
  expect_error({"predict", "-m", model, "--stream", "photos/ant/00.png"}, 2, {"--stream", model, "causal"});
}

// Batches and threads change nothing but the last bits, which four decimals do not show.
TEST_F(PredictTest, AnswersDoNotDependOnBatchesAndWorkers) {
  const auto ask = [&](const Arguments& flags) {
    const ProgramResult result =
        vretnet(Arguments{"predict", "-m", model_, "--format", "jsonl", "-k", "3", "-r", "photos",
                          "broken.png", "nothing.png", "photos/cat"} +
                flags);
    EXPECT_EQ(result.exit_code, 3) << result.err;
    return lines_of(result.out);
  };
  const std::vector<std::string> expected = ask({"-b", "1", "-j", "1"});
  ASSERT_EQ(expected.size(), 15u);
  for (const Arguments& flags : {Arguments{}, Arguments{"-b", "3", "-j", "4"}, Arguments{"-b", "64"}}) {
    const std::vector<std::string> lines = ask(flags);
    ASSERT_EQ(lines.size(), expected.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const json found = json::parse(lines[i]), wanted = json::parse(expected[i]);
      EXPECT_EQ(found.at("file"), wanted.at("file"));
      EXPECT_EQ(found.contains("error"), wanted.contains("error"));
      if (found.contains("error")) continue;
      EXPECT_EQ(found.at("label"), wanted.at("label"));
      EXPECT_NEAR(found.at("probability").get<double>(), wanted.at("probability").get<double>(), 1.01e-4);
    }
  }
}

TEST_F(PredictTest, ConfidentStopsReading) {
  const std::string causal = write_model("causal.safetensors", "causal").string();
  write_photo(folder_ / "tall.png", 1, 6, 16, 400);
  const auto ask = [&](const std::string& confidence) {
    const ProgramResult result = vretnet(
        {"predict", "-m", causal, "--stream", "--confident", confidence, "--format", "jsonl", "tall.png"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out);
  };
  EXPECT_NEAR(ask("0").at("part_read").get<double>(), 0.01, 1e-9) << "one row of patches of 4 of 400";
  EXPECT_FALSE(ask("1").contains("part_read"));
  // What comes after the stop is not looked at.
  std::string bytes = text_of_file(folder_ / "tall.png");
  bytes.resize(bytes.size() - 100);
  write_file(folder_ / "tall.png", bytes);
  EXPECT_TRUE(ask("0").contains("part_read"));
  expect_error({"predict", "-m", causal, "--confident", "0.5", "tall.png"}, 2, {"--confident", "--stream"});
}

TEST_F(PredictTest, ConfidentWarnsOfAModelThatIsNotCalibrated) {
  const std::string causal = write_model("causal.safetensors", "causal").string();
  const auto warnings = [&](const Arguments& flags) {
    const ProgramResult result =
        vretnet(Arguments{"predict", "-m", causal, "--stream", "photos/ant/00.png"} + flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(lines_of(result.out).size(), 1u) << result.out;
    return lines_of(result.err);
  };
  const std::vector<std::string> lines = warnings({"--confident", "0.9"});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], ::testing::StartsWith("warning: "));
  EXPECT_THAT(lines[0], HasSubstr("not calibrated"));
  EXPECT_THAT(lines[0], HasSubstr("vretnet eval -m " + causal + " -d DATA --calibrate"));
  EXPECT_TRUE(warnings({}).empty()) << "nothing depends on the confidence";
  const ProgramResult calibrated = vretnet({"eval", "-m", causal, "-d", "photos", "--calibrate"});
  ASSERT_EQ(calibrated.exit_code, 0) << calibrated.err;
  EXPECT_TRUE(warnings({"--confident", "0.9"}).empty());
}

// Pieces of several rows give what single rows give, and the progress shows the answer so far.
TEST_F(PredictTest, AStreamSaysItsRunningAnswer) {
  const std::string causal = write_model("causal.safetensors", "causal").string();
  write_photo(folder_ / "tall.png", 1, 6, 18, 2403);
  const auto ask = [&](const Arguments& flags) {
    const ProgramResult result = vretnet(
        Arguments{"predict", "-m", causal, "--stream", "-k", "3", "--format", "jsonl", "tall.png"} + flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return std::pair(json::parse(result.out), result.err);
  };
  const auto [quiet, nothing] = ask({"--progress", "off"});
  EXPECT_EQ(nothing, "");
  const auto [shown, progress] = ask({"--progress", "bar"});
  EXPECT_THAT(progress, HasSubstr("tall.png ["));
  EXPECT_THAT(progress, ::testing::ContainsRegex("(ant|bee|cat) [0-9]+\\.[0-9]%"));
  EXPECT_EQ(shown, quiet);
  const auto [by_row, none] = ask({"--confident", "1", "--progress", "off"});
  for (int k = 0; k < 3; ++k) {
    EXPECT_EQ(by_row.at("top")[k].at("label"), quiet.at("top")[k].at("label"));
    EXPECT_NEAR(by_row.at("top")[k].at("probability").get<double>(),
                quiet.at("top")[k].at("probability").get<double>(), 1.01e-4);
  }
}

// At another size than the model's: as a model of that size answers.
TEST_F(PredictTest, ImageSize) {
  const auto ask = [&](const std::string& model, const Arguments& flags) {
    const ProgramResult result = vretnet(
        Arguments{"predict", "-m", model, "-k", "3", "--format", "jsonl", "photos/cat/02.png"} + flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  for (const char* scan : {"causal", "bidirectional"}) {
    const std::string small = write_model("small.safetensors", scan, 64).string();
    const std::string large = write_model("large.safetensors", scan, 128).string();  // 1024 tokens
    // Not scaled, as the large one is not.
    EXPECT_EQ(ask(small, {"--img-size", "128", "--base-grid", "32"}), ask(large, {"--img-size", "128x128"}));
    EXPECT_EQ(ask(small, {"--img-size", "128"}), ask(large, {"--base-grid", "16x16"}));
    EXPECT_NE(ask(small, {"--img-size", "128"}), ask(large, {}));
    EXPECT_NE(ask(small, {"--img-size", "128"}), ask(small, {}));
  }
  expect_error({"predict", "-m", model_, "--img-size", "18", "photos/cat/02.png"}, 2, {"--img-size", "18"});
  expect_error({"predict", "-m", model_, "--img-size", "many", "photos/cat/02.png"}, 2,
               {"--img-size", "many"});
  const std::string causal = write_model("causal.safetensors", "causal").string();
  expect_error({"predict", "-m", causal, "--img-size", "32", "--stream", "photos/cat/02.png"}, 2,
               {"--img-size", "--stream"});
  expect_error({"predict", "-m", causal, "--base-grid", "32", "--stream", "photos/cat/02.png"}, 2,
               {"--base-grid", "--stream"});
  expect_error({"predict", "-m", causal, "--base-grid", "4x0", "photos/cat/02.png"}, 2,
               {"--base-grid 4x0", "base_grid is 4 × 0"});
}

TEST_F(PredictTest, TheModelsTemperatureCalibratesConfidence) {
  const auto probability = [&](double temperature) {
    vision::Classifier classifier = vision::load_classifier(model_);
    classifier.description.temperature = temperature;
    const fs::path path = folder_ / "calibrated.safetensors";
    vision::save_classifier(path, classifier.description, classifier.model->parameters(), classifier.values);
    const ProgramResult result =
        vretnet({"predict", "-m", path.string(), "-k", "3", "--format", "jsonl", "photos/ant/00.png"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out).at("probability").get<double>();
  };
  const double plain = probability(1);
  EXPECT_GT(plain, 0.34);
  EXPECT_NEAR(probability(1e6), 1.0 / 3, 1e-4);
  EXPECT_GT(probability(0.1), plain);
}

TEST_F(PredictTest, NamesThatAreNoText) {
  const std::string odd = "caf\xe9 \"x\", y.png";  // not UTF-8
  write_photo(folder_ / odd, 0, 1, 9, 9);
  for (const char* format : {"json", "jsonl"}) {
    const ProgramResult result = vretnet({"predict", "-m", model_, "--format", format, odd});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_TRUE(json::accept(result.out)) << result.out;
  }
  const std::vector<std::string> csv =
      lines_of(vretnet({"predict", "-m", model_, "--format", "csv", odd}).out);
  EXPECT_TRUE(csv.at(1).starts_with("\"caf\xe9 \"\"x\"\", y.png\",")) << csv.at(1);
}

}  // namespace
}  // namespace vretnet::tools
