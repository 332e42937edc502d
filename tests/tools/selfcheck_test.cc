// selfcheck as a user runs it: on the processor, every op.
#include <numeric>

#include "tests/tools/support.h"

namespace vretnet::tools {
namespace {

class SelfcheckTest : public ToolTest {
 protected:
  // Of the table's rows, which have a name and three numbers: the cases of each op.
  static std::map<std::string, int> cases_by_op(const std::string& report) {
    std::map<std::string, int> cases;
    for (const std::string& line : lines_of(report)) {
      std::istringstream row(line);
      std::string op, rest;
      int count = 0, failed = 0;
      double worst = 0;
      if (row >> op >> count >> failed >> worst && !(row >> rest)) cases[op] += count;
    }
    return cases;
  }
};

TEST_F(SelfcheckTest, ProvesEveryOpOnThisProcessor) {
  const ProgramResult result = vretnet({"selfcheck", "-t", "2", "--progress", "off"});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(result.out, ::testing::StartsWith("oneDNN"));
  const std::map<std::string, int> cases = cases_by_op(result.out);
  for (const char* op :
       {"Gemm", "Convolution", "LayerNorm", "Retention", "RetentionGradient", "Rotate", "AdamW"}) {
    EXPECT_TRUE(cases.contains(op)) << op;
  }
  const int all = std::accumulate(cases.begin(), cases.end(), 0,
                                  [](int sum, const auto& row) { return sum + row.second; });
  EXPECT_GT(all, 1000) << "every op at hard shapes";
  EXPECT_THAT(result.out, ::testing::EndsWith("\n" + std::to_string(all) + " passed, 0 failed\n"));
}

TEST_F(SelfcheckTest, AFilterAndABackend) {
  const ProgramResult result = vretnet({"selfcheck", "--backend", "reference", "--filter", "Softmax/"});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_THAT(result.out, ::testing::StartsWith("plain loops"));
  const std::map<std::string, int> cases = cases_by_op(result.out);
  ASSERT_EQ(cases.size(), 1u) << result.out;
  EXPECT_EQ(cases.begin()->first, "Softmax");
  EXPECT_THAT(result.out, HasSubstr("\n" + std::to_string(cases.begin()->second) + " passed, 0 failed\n"));
  const ProgramResult none = vretnet({"selfcheck", "--filter", "Softmacks"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("error: --filter: no case in f32 has 'Softmacks' in its name"));
}

}  // namespace
}  // namespace vretnet::tools
