// What goes to stdout, what to stderr, and what the help shows.
#include <sys/stat.h>

#include "tests/tools/support.h"

namespace vretnet::tools {
namespace {

class OutputTest : public ToolTest {};

// Columns of a UTF-8 text.
std::size_t columns(const std::string& line) {
  return std::size_t(std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

TEST_F(OutputTest, TopPageOfHelpFitsATerminal) {
  for (const char* flag : {"--help", "-h"}) {
    const ProgramResult help = vretnet({flag});
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_EQ(help.err, "");
    const std::vector<std::string> lines = lines_of(help.out);
    EXPECT_LE(lines.size(), 24u) << help.out;
    for (const std::string& line : lines) EXPECT_LE(columns(line), 80u) << line;
    EXPECT_THAT(help.out, HasSubstr("examples:"));
    for (const char* command :
         {"train", "eval", "predict", "info", "quantize", "models", "data", "bench", "selfcheck"}) {
      EXPECT_THAT(help.out, HasSubstr(std::string("\n  ") + command + " "));
    }
    for (const char* later : {"export", "report", "completion"}) {
      EXPECT_THAT(help.out, Not(HasSubstr(std::string("\n  ") + later + " ")));
    }
  }
}

TEST_F(OutputTest, EveryCommandHasHelp) {
  for (const Arguments& command : {Arguments{"train"},
                                   {"eval"},
                                   {"predict"},
                                   {"info"},
                                   {"models"},
                                   {"data"},
                                   {"bench"},
                                   {"bench", "compare"},
                                   {"selfcheck"},
                                   {"data", "check"},
                                   {"data", "stats"},
                                   {"data", "split"},
                                   {"data", "import"}}) {
    const ProgramResult help = vretnet(command + Arguments{"--help"});
    EXPECT_EQ(help.exit_code, 0) << help.err;
    EXPECT_EQ(help.err, "");
    EXPECT_THAT(help.out, HasSubstr("--help"));
    EXPECT_THAT(help.out, Not(HasSubstr("17976931"))) << "a bound with 300 digits";
  }
}

TEST_F(OutputTest, VersionAndNothing) {
  const ProgramResult version = vretnet({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.out, ::testing::MatchesRegex("vretnet [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  EXPECT_EQ(vretnet({"-V"}).out, version.out);
  const ProgramResult nothing = vretnet({});
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_THAT(nothing.out + nothing.err, HasSubstr("examples:"));
}

TEST_F(OutputTest, ResultsOnStdoutLogOnStderr) {
  write_photos();
  const ProgramResult run = vretnet(small_recipe("2") + Arguments{"-o", "run"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  ASSERT_EQ(lines_of(run.out).size(), 1u) << run.out;
  const json line = json::parse(run.out);
  for (const char* key : {"run", "epoch", "top1", "top5", "loss", "images_per_second"}) {
    EXPECT_TRUE(line.contains(key)) << key;
  }
  EXPECT_EQ(line.at("run"), "run");
  for (const char* word :
       {"data    photos: train 42 (3 classes), val 6", "model   vretnet_pico_patch4_28",
        "run     run   seed 42", "resume with: vretnet train --resume run", "epoch  2/2"}) {
    EXPECT_THAT(run.err, HasSubstr(word));
  }
  EXPECT_THAT(run.err, Not(HasSubstr("\r"))) << "a bar, but there is no terminal";
  EXPECT_THAT(run.err, Not(HasSubstr("\033")));

  const ProgramResult quiet = vretnet(small_recipe("1") + Arguments{"-o", "quiet", "-q"});
  EXPECT_EQ(quiet.exit_code, 0);
  EXPECT_EQ(quiet.err, "");
  EXPECT_EQ(lines_of(quiet.out).size(), 1u);
}

TEST_F(OutputTest, ColourAndBarOnlyWhereAsked) {
  write_photos();
  const auto log_of = [&](const std::string& name, const Arguments& flags, const ProgramOptions& options) {
    return vretnet(small_recipe("1") + Arguments{"-o", name} + flags, options).err;
  };
  EXPECT_THAT(log_of("a", {"--color", "always"}, {}), HasSubstr("\033[1m"));
  EXPECT_THAT(log_of("b", {}, {.environment = {{"NO_COLOR", "1"}}}), Not(HasSubstr("\033[1m")));
  EXPECT_THAT(log_of("c", {"--color", "never"}, {}), Not(HasSubstr("\033[1m")));
  EXPECT_THAT(log_of("d", {"--progress", "bar"}, {}), HasSubstr("\r"));
  EXPECT_THAT(log_of("e", {"--progress", "off"}, {}), Not(HasSubstr("\r")));
}

TEST_F(OutputTest, AFullStdoutIsAFailure) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "NOT RUN: there is no /dev/full here";
  write_photos(2);
  const std::string model = write_model().string();
  for (const Arguments& command :
       {Arguments{"models"}, {"predict", "-m", model, "photos/ant"}, {"eval", "-m", model, "-d", "photos"}}) {
    const ProgramResult result = vretnet(command, {.stdout_file = "/dev/full"});
    EXPECT_EQ(result.exit_code, 1) << command[0];
    EXPECT_THAT(result.err, HasSubstr("error: cannot write to stdout"));
  }
}

TEST_F(OutputTest, ModelsAndInfo) {
  const ProgramResult list = vretnet({"models", "--format", "json"});
  ASSERT_EQ(list.exit_code, 0) << list.err;
  bool found = false;
  for (const json& model : json::parse(list.out)) found |= model.at("name") == "vretnet_pico_patch4_28";
  EXPECT_TRUE(found);
  EXPECT_THAT(vretnet({"models"}).out, HasSubstr("vit_tiny_patch16_224"));

  const json info =
      json::parse(vretnet({"info", "vit_tiny_patch16_224", "--format", "json", "--layers"}).out);
  EXPECT_EQ(info.at("parameters"), 5717416) << "as timm counts them";
  EXPECT_NEAR(info.at("flops_per_image").get<double>(), 2 * 1.26e9, 0.05e9) << "1.26 GMACs";
  std::int64_t sum = 0;
  for (const json& tensor : info.at("tensors")) {
    std::int64_t elements = 1;
    for (const json& extent : tensor.at("shape")) elements *= extent.get<std::int64_t>();
    sum += elements;
  }
  EXPECT_EQ(sum, info.at("parameters"));

  const std::string file = write_model().string();
  const json of_file = json::parse(vretnet({"info", file, "--format", "json"}).out);
  EXPECT_EQ(of_file.at("class_names"), (std::vector<std::string>{"ant", "bee", "cat"}));
  EXPECT_THAT(vretnet({"info", "-m", file}).out, HasSubstr("ant, bee, cat"));
}

}  // namespace
}  // namespace vretnet::tools
