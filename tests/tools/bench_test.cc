// `vretnet bench`: real runs of a tiny model, and comparisons of files written by hand.
#include <cmath>
#include <csignal>

#include "tests/tools/support.h"
#include "tests/tools/xml.h"

namespace vretnet::tools {
namespace {

class BenchTest : public ToolTest {
 protected:
  // A run of some milliseconds.
  static Arguments quick() {
    return {"bench", "-t", "1", "-r", "3", "--min-time", "0.01", "--progress", "off"};
  }
  json rows_of(const Arguments& arguments) const {
    const ProgramResult result = vretnet(quick() + small_model() + arguments + Arguments{"--format", "json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.exit_code == 0 ? json::parse(result.out) : json();
  }
};

TEST_F(BenchTest, RowsHoldTheContractsNames) {
  const ProgramResult result = vretnet(quick() + small_model() + Arguments{"-b", "2", "--format", "jsonl"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  ASSERT_EQ(lines_of(result.out).size(), 1u);
  const json row = json::parse(result.out);
  for (const char* name :
       {"model", "backend", "precision", "form", "image_size", "tokens", "batch", "threads", "mode",
        "images_per_second_best", "images_per_second_median", "ms_best", "ms_median", "ms_p90", "gflops",
        "fraction_of_gemm_peak", "model_mib", "peak_mib", "repeats"}) {
    EXPECT_TRUE(row.contains(name)) << name;
  }
  EXPECT_EQ(row.at("model"), "vretnet_pico_patch4_28");
  EXPECT_EQ(row.at("options"), "depth=2 heads=2 in_chans=3 width=32");
  EXPECT_EQ(row.at("image_size"), (std::vector<int>{16, 16}));
  EXPECT_EQ(row.at("tokens"), 16);
  EXPECT_EQ(row.at("mode"), "inference");
  EXPECT_EQ(row.at("form"), "auto");
  EXPECT_EQ(row.at("form_ran"), "parallel") << "16 tokens";
  EXPECT_EQ(row.at("repeats"), row.at("times_ms").size());
  EXPECT_GE(row.at("repeats"), 3);

  // What can be worked out from other numbers of the row.
  const double best = row.at("ms_best"), batch = 2;
  double least = INFINITY;
  for (const double time : row.at("times_ms")) least = std::min(least, time);
  EXPECT_DOUBLE_EQ(best, least);
  EXPECT_LE(best, row.at("ms_median").get<double>());
  EXPECT_LE(row.at("ms_median").get<double>(), row.at("ms_p90").get<double>());
  EXPECT_NEAR(row.at("images_per_second_best").get<double>(), 1e3 * batch / best, 0.01 * 1e3 * batch / best);
  const json info = json::parse(
      vretnet(Arguments{"info", "vretnet_pico_patch4_28", "--format", "json"} + small_model()).out);
  EXPECT_EQ(row.at("parameters"), info.at("parameters"));
  EXPECT_NEAR(row.at("gflop").get<double>() * 1e9, batch * info.at("flops_per_image").get<double>(),
              1e-3 * batch * info.at("flops_per_image").get<double>());
  EXPECT_NEAR(row.at("gflops").get<double>(), row.at("gflop").get<double>() * 1e3 / best,
              0.01 * row.at("gflops").get<double>());
  EXPECT_NEAR(row.at("fraction_of_gemm_peak").get<double>(),
              row.at("gflops").get<double>() / row.at("gemm_gflops").get<double>(), 1e-4);
  EXPECT_GT(row.at("weights_mib").get<double>(), info.at("parameters").get<double>() * 4 / (1 << 20) * 0.999);
  EXPECT_GT(row.at("model_mib").get<double>(), row.at("weights_mib").get<double>());
  EXPECT_GT(row.at("peak_mib").get<double>(), row.at("model_mib").get<double>());
}

TEST_F(BenchTest, ListsMakeTheCrossProduct) {
  const Arguments models{"-m",         "vretnet_pico_patch4_28,vit_pico_patch4_28",
                         "-b",         "1,3",
                         "--form",     "recurrent,chunkwise",
                         "--img-size", "16,8x12"};
  const Arguments sizes{"--width", "32", "--depth", "1", "--heads", "2"};
  const ProgramResult result = vretnet(quick() + sizes + models + Arguments{"--format", "csv"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto lines = lines_of(result.out);
  EXPECT_EQ(lines.size(), 1u + 2 * 2 * 2 + 2 * 2) << "a form means nothing to the ViT";
  EXPECT_THAT(lines[0], ::testing::StartsWith("model,options,backend,precision,form,"));
  int rectangles = 0, recurrent = 0;
  for (const std::string& line : lines) {
    rectangles += line.find(",8x12,6,") != std::string::npos;
    recurrent += line.find(",recurrent,recurrent,") != std::string::npos;
  }
  EXPECT_EQ(rectangles, 6);
  EXPECT_EQ(recurrent, 4);
  EXPECT_EQ(rows_of({"-t", "1,2"}).at("rows").size(), 2u) << "1, of which there are two, and 2";
}

TEST_F(BenchTest, TrainingCostsThreeForwards) {
  const json inference = rows_of({"-b", "4"}).at("rows").at(0);
  const json training = rows_of({"-b", "4", "--train"}).at("rows").at(0);
  EXPECT_EQ(training.at("mode"), "train");
  const double ratio = training.at("gflop").get<double>() / inference.at("gflop").get<double>();
  EXPECT_GT(ratio, 2.5);
  EXPECT_LT(ratio, 5);
  EXPECT_GT(training.at("model_mib").get<double>(), 3 * training.at("weights_mib").get<double>())
      << "weights, gradients and two moments";
}

TEST_F(BenchTest, OpsAddUpToTheBatch) {
  const json row = rows_of({"--ops"}).at("rows").at(0);
  double share = 0, gflop = 0;
  std::int64_t products = 0;
  for (const json& op : row.at("ops")) {
    share += op.at("share").get<double>();
    gflop += op.at("gflops").get<double>() * op.at("ms").get<double>() * 1e-3;
    if (op.at("op") == "Gemm") products = op.at("calls");
    EXPECT_GT(op.at("fraction_of_roofline").get<double>(), 0) << op;
  }
  EXPECT_NEAR(share, 1, 1e-3);
  EXPECT_NEAR(gflop, row.at("gflop").get<double>(), 0.02 * row.at("gflop").get<double>());
  EXPECT_EQ(products, 1 + 2 * 4 + 1) << "embedding; QKVG, output and two of the feed-forward a block; head";

  const json by_shape = rows_of({"--shapes"}).at("rows").at(0);
  EXPECT_GT(by_shape.at("ops").size(), row.at("ops").size());
  EXPECT_THAT(by_shape.at("ops").dump(), HasSubstr("\"Gemm 16x64x32 bias gelu\""));
  const ProgramResult csv = vretnet(quick() + small_model() + Arguments{"--ops", "--format", "csv"});
  EXPECT_EQ(lines_of(csv.out).size(), 1 + row.at("ops").size());
  EXPECT_THAT(vretnet(quick() + small_model() + Arguments{"--ops"}).out, HasSubstr("of roofline"));
}

TEST_F(BenchTest, FileByItsEndingAndTables) {
  EXPECT_EQ(vretnet(quick() + small_model() + Arguments{"-o", "a.json"}).out, "");
  const json file = json::parse(text_of_file(folder_ / "a.json"));
  EXPECT_EQ(file.at("rows").size(), 1u);
  EXPECT_EQ(file.at("limits").at(0).at("threads"), 1);
  EXPECT_GT(file.at("limits").at(0).at("fma_gflops"), 0);
  EXPECT_TRUE(file.at("environment").contains("processor"));
  vretnet(quick() + small_model() + Arguments{"-o", "a.md"});
  EXPECT_THAT(text_of_file(folder_ / "a.md"), HasSubstr("\n| model "));
  EXPECT_THAT(vretnet(quick() + small_model()).out, HasSubstr("\nmodel "));
}

TEST_F(BenchTest, ModelFileGivesItsShape) {
  const std::string file = write_model().string();
  const ProgramResult result = vretnet(quick() + Arguments{"-m", file, "--format", "jsonl"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(json::parse(result.out).at("image_size"), (std::vector<int>{16, 16}));
}

TEST_F(BenchTest, MistakesAreNamed) {
  expect_error({"bench", "-m", "vretnet_tinny_patch16_224"}, 2, {"--model", "vretnet_tiny_patch16_224"});
  expect_error({"bench", "--precision", "bf16"}, 2, {"--precision", "bf16"});
  expect_error({"bench", "--form", "parallel,serial"}, 2, {"--form", "serial"});
  expect_error({"bench", "-b", "1,0"}, 2, {"--batch-size", "0"});
  expect_error({"bench", "--img-size", "16,x"}, 2, {"--img-size"});
  expect_error({"bench", "-m", "vretnet", "--img-size", "100"}, 2, {"--img-size 100", "16"});
  expect_error({"bench", "--repeat", "3"}, 2, {"--repeat", "--repeats"});
  expect_error({"bench", "--min-time", "nan"}, 2, {"--min-time"});
  expect_error({"bench", "--sweep", "depth", "-o", "d"}, 2, {"--sweep", "depth"});
  expect_error({"bench", "--sweep", "resolution"}, 2, {"-o"});
  expect_error({"bench", "--sweep", "resolution", "-o", "d", "-b", "1,2"}, 2, {"--sweep", "one batch size"});
  expect_error({"bench", "compar"}, 2, {"compar", "Did you mean 'compare'?"});
}

// Hundreds of points take minutes; the signal lets a few be measured, on a busy machine at the second or
// third try.
TEST_F(BenchTest, InterruptWritesWhatIsDone) {
  std::string batches = "1";
  for (int batch = 2; batch <= 500; ++batch) batches += "," + std::to_string(batch);
  const Arguments long_run{"bench", "-t", "1", "--min-time", "0.3", "-b", batches, "-o", "done.jsonl"};
  std::vector<std::string> rows;
  for (const int seconds : {4, 15, 40}) {
    const ProgramResult result =
        vretnet(long_run + small_model(), {.signal = SIGINT, .signal_after = std::chrono::seconds(seconds)});
    ASSERT_EQ(result.exit_code, 130) << result.err;
    rows = lines_of(text_of_file(folder_ / "done.jsonl"));
    if (!rows.empty()) break;
  }
  EXPECT_GE(rows.size(), 1u);
  EXPECT_LT(rows.size(), 500u);
  for (const std::string& row : rows) EXPECT_TRUE(json::accept(row));
}

TEST_F(BenchTest, SweepDrawsAndSaysWhoIsAhead) {
  const Arguments sweep{"--sweep",    "resolution",  "-m",      "vretnet_pico_patch4_28,vit_pico_patch4_28",
                        "--width",    "32",          "--depth", "1",
                        "--heads",    "2",           "-o",      "sweep",
                        "--img-size", "16,32,64,256"};
  const ProgramResult result = vretnet(quick() + sweep);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const char* name : {"time.svg", "memory.svg"}) {
    const std::string svg = text_of_file(folder_ / "sweep" / name);
    expect_well_formed(svg);
    for (const char* word : {"vretnet_pico_patch4_28", "vit_pico_patch4_28", "tokens", "4,096"}) {
      EXPECT_THAT(svg, HasSubstr(word));
    }
  }
  const std::string table = text_of_file(folder_ / "sweep" / "resolution.md");
  EXPECT_THAT(table, HasSubstr(" 256 |"));
  EXPECT_THAT(table, HasSubstr("attention is faster at "));
  EXPECT_THAT(table, ::testing::ContainsRegex("retention is faster at .*256 \\([1-9]"))
      << "4,096 tokens of softmax attention against a linear form";
  EXPECT_EQ(lines_of(text_of_file(folder_ / "sweep" / "resolution.csv")).size(), 9u);
  EXPECT_EQ(json::parse(text_of_file(folder_ / "sweep" / "resolution.json")).at("rows").size(), 8u);
}

TEST_F(BenchTest, LoadingMeasuresTheFolderAndAStepThatItFeeds) {
  write_photos(12);
  const Arguments loading{"bench",   "loading", "-d", "photos", "-b", "8", "-r",         "2",
                          "--steps", "2",       "-t", "1",      "-j", "1", "--progress", "off"};
  const ProgramResult alone = vretnet(loading + Arguments{"--img-size", "32", "--format", "jsonl"});
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  ASSERT_EQ(lines_of(alone.out).size(), 1u);
  const json row = json::parse(alone.out);
  EXPECT_EQ(row.at("source"), "loader");
  EXPECT_EQ(row.at("images"), 32) << "whole batches of 36 images";
  EXPECT_EQ(row.at("repeats"), 2);
  EXPECT_GT(row.at("processor_ms_an_image").get<double>(), 0);
  EXPECT_GE(row.at("images_per_second_best").get<double>(), row.at("images_per_second_median").get<double>());

  const Arguments model{"-m", "vretnet_nano_patch4_32"};
  const ProgramResult steps = vretnet(loading + model + Arguments{"--format", "jsonl"});
  ASSERT_EQ(steps.exit_code, 0) << steps.err;
  const auto lines = lines_of(steps.out);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(json::parse(lines[1]).at("source"), "step from memory");
  EXPECT_EQ(json::parse(lines[2]).at("source"), "step from the folder");
  for (const int line : {1, 2}) EXPECT_EQ(json::parse(lines[line]).at("images"), 16) << "2 steps of 8";
  const ProgramResult text = vretnet(loading + model);
  EXPECT_THAT(text.out, ::testing::ContainsRegex("a step reaches [0-9.]+ % of its rate from memory"));
}

TEST_F(BenchTest, LoadingRefusesWhatItCannotMeasure) {
  write_photos(4);
  expect_error({"bench", "loading", "-d", "photo"}, 2, {"--data-dir", "photo", "photos"});
  expect_error({"bench", "loading", "-d", "photos", "-m", "vretnet_tiny"}, 2, {"--model", "vretnet_tiny"});
  expect_error({"bench", "loading", "-d", "photos", "--reduced-decoding", "--cache", "ram"}, 2, {"cache"});
}

}  // namespace
}  // namespace vretnet::tools
