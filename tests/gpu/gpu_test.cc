// The conformance table on a real GPU: `ctest -L gpu`. Where there is none every test says why and is
// skipped.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/backends/available.h"
#include "core/base/error.h"
#include "core/conformance/conformance.h"

namespace vretnet {
namespace {

std::string op_of(const conformance::Case& the_case) {
  return the_case.name.substr(0, the_case.name.find('/'));
}

std::vector<std::string> ops_in_table() {
  std::set<std::string> names;
  for (const conformance::Case& the_case : conformance::conformance_cases()) names.insert(op_of(the_case));
  return {names.begin(), names.end()};
}

class Gpu : public ::testing::TestWithParam<std::string> {};

TEST_P(Gpu, EqualsTheReferenceInDouble) {
  std::unique_ptr<Backend> backend;
  try {
    backend = make_backend("cuda", 1);
  } catch (const UsageError& error) {
    GTEST_SKIP() << "no GPU was used: " << error.what();
  }
  double worst = 0;
  for (const conformance::Case& the_case : conformance::conformance_cases()) {
    if (op_of(the_case) != GetParam()) continue;
    const conformance::Result result = conformance::run_case(*backend, DType::f32, the_case);
    EXPECT_TRUE(result.passed) << the_case.name << ": " << result.reason;
    worst = std::max(worst, result.worst);
  }
  RecordProperty("worst", std::to_string(worst));
}

INSTANTIATE_TEST_SUITE_P(Ops, Gpu, ::testing::ValuesIn(ops_in_table()),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace vretnet
