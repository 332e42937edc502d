// `vretnet bench compare` on files with known numbers.
#include "tests/tools/support.h"

namespace vretnet::tools {
namespace {

class BenchCompareTest : public ToolTest {
 protected:
  static json row(const std::string& model, const std::vector<double>& times, int batch = 1) {
    return {{"model", model},     {"options", ""},  {"backend", "onednn"},
            {"precision", "f32"}, {"form", "auto"}, {"image_size", {224, 224}},
            {"batch", batch},     {"threads", 2},   {"mode", "inference"},
            {"times_ms", times}};
  }
  void write(const std::string& name, const std::vector<json>& rows) const {
    std::string text;
    for (const json& each : rows) text += each.dump() + "\n";
    write_file(folder_ / name, text);
  }
  ProgramResult compare(const Arguments& arguments) const {
    return vretnet(Arguments{"bench", "compare"} + arguments);
  }
  json compared(const Arguments& arguments, int code) const {
    const ProgramResult result = compare(arguments + Arguments{"--format", "json"});
    EXPECT_EQ(result.exit_code, code) << result.err;
    return json::parse(result.out, nullptr, false);
  }

  const std::vector<double> steady_{10, 10.1, 9.9, 10, 10.2, 10, 9.8, 10, 10.1, 10};
  const std::vector<double> slower_{12, 12.1, 11.9, 12, 12.2, 12, 11.8, 12, 12.1, 12};
};

TEST_F(BenchCompareTest, EqualFilesDoNotDiffer) {
  write("a.jsonl", {row("m", steady_)});
  const json rows = compared({"a.jsonl", "a.jsonl"}, 0);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].at("ratio"), 1);
  EXPECT_EQ(rows[0].at("verdict"), "no clear difference");
}

TEST_F(BenchCompareTest, SlowerFailsBeyondTheLimit) {
  write("a.jsonl", {row("m", steady_), row("n", steady_)});
  write("b.jsonl", {row("n", steady_), row("m", slower_)});
  const json rows = compared({"a.jsonl", "b.jsonl"}, 1);
  EXPECT_DOUBLE_EQ(rows[0].at("ratio"), 1.2);
  EXPECT_EQ(rows[0].at("verdict"), "SLOWER");
  EXPECT_EQ(rows[1].at("verdict"), "no clear difference") << "rows are matched by key, not by place";
  EXPECT_EQ(compared({"a.jsonl", "b.jsonl", "--fail-over", "25"}, 0)[0].at("verdict"), "slower");
  EXPECT_EQ(compared({"b.jsonl", "a.jsonl"}, 0)[1].at("verdict"), "faster");
  const ProgramResult text = compare({"a.jsonl", "b.jsonl"});
  EXPECT_THAT(text.out, HasSubstr("1 of 2 slower by more than 5 %"));
  EXPECT_THAT(text.out, HasSubstr("m onednn f32 auto [224,224] 1 2 inference"));
}

// A higher median alone is no regression while the interval holds 1.
TEST_F(BenchCompareTest, NoiseDoesNotFail) {
  write("a.jsonl", {row("m", {8, 12, 9, 14, 10})});
  write("b.jsonl", {row("m", {9, 13, 8, 15, 11})});
  const json rows = compared({"a.jsonl", "b.jsonl"}, 0);
  EXPECT_DOUBLE_EQ(rows[0].at("ratio"), 1.1);
  EXPECT_LT(rows[0].at("low"), 1);
  EXPECT_GT(rows[0].at("high"), 1.1);
}

TEST_F(BenchCompareTest, RoundsOfOneMeasurementAreJoined) {
  write("a.jsonl", {row("m", {1}), row("m", {2}), row("m", {3})});
  write("b.jsonl", {row("m", {4})});
  EXPECT_DOUBLE_EQ(compared({"a.jsonl", "b.jsonl"}, 1)[0].at("ratio"), 2);
}

TEST_F(BenchCompareTest, UnmatchedRowsAreAnErrorUnlessLeftOut) {
  write("a.jsonl", {row("m", steady_), row("m", steady_, 8)});
  write("b.jsonl", {row("m", steady_)});
  expect_error({"bench", "compare", "a.jsonl", "b.jsonl"}, 3, {"a.jsonl", "b.jsonl", "[224,224] 8 2"});
  expect_error({"bench", "compare", "b.jsonl", "a.jsonl"}, 3, {"a.jsonl", "[224,224] 8 2"});
  EXPECT_EQ(compared({"a.jsonl", "b.jsonl", "--matched-only"}, 0).size(), 1u);
  write("c.jsonl", {row("other", steady_)});
  expect_error({"bench", "compare", "c.jsonl", "b.jsonl", "--matched-only"}, 3, {"other"});
  EXPECT_EQ(compared({"c.jsonl", "b.jsonl", "--ignore", "model"}, 0).size(), 1u);
  write("d.jsonl", {row("m", steady_), row("other", steady_)});
  expect_error({"bench", "compare", "d.jsonl", "b.jsonl", "--ignore", "model"}, 3,
               {"differ in ignored keys"});
  expect_error({"bench", "compare", "c.jsonl", "b.jsonl", "--ignore", "modell"}, 2, {"modell"});
}

TEST_F(BenchCompareTest, MalformedFilesAreNamed) {
  write("good.jsonl", {row("m", steady_)});
  const auto expect_refused = [&](const std::string& text, const std::vector<std::string>& words) {
    write_file(folder_ / "bad", text);
    expect_error({"bench", "compare", "good.jsonl", "bad"}, 3, words);
  };
  expect_refused("", {"bad", "no rows", "--format json"});
  expect_refused("model,backend\nm,onednn\n", {"bad: line 1", "not JSON"});
  expect_refused("[1, 2]\n", {"bad: line 1", "not a JSON object"});
  json lacking = row("m", steady_);
  lacking.erase("batch");
  expect_refused(row("m", steady_).dump() + "\n\n" + lacking.dump(), {"bad: line 3", "'batch' is missing"});
  expect_refused(row("m", {}).dump(), {"'times_ms' is missing or empty"});
  expect_refused(row("m", {1, 0}).dump(), {"'times_ms' holds 0"});
  expect_refused(json{{"rows", {row("m", {-1})}}}.dump(2), {"bad: row 1", "-1"});
  expect_error({"bench", "compare", "good.jsonl", "missing.jsonl"}, 2, {"missing.jsonl"});
  expect_error({"bench", "compare", "good.jsonl"}, 2, {"now"});
}

}  // namespace
}  // namespace vretnet::tools
