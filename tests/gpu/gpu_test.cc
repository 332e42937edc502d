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

class Gpu : public ::testing::TestWithParam<std::tuple<DType, std::string>> {};

TEST_P(Gpu, EqualsTheReferenceInDouble) {
  std::unique_ptr<Backend> backend;
  try {
    backend = make_backend("cuda", 1);
  } catch (const UsageError& error) {
    GTEST_SKIP() << "no GPU was used: " << error.what();
  }
  const auto& [dtype, op] = GetParam();
  double worst = 0;
  for (const conformance::Case& the_case : conformance::conformance_cases()) {
    if (op_of(the_case) != op || !conformance::exists_in(dtype, the_case)) continue;
    const conformance::Result result = conformance::run_case(*backend, dtype, the_case);
    EXPECT_TRUE(result.passed) << the_case.name << ": " << result.reason;
    worst = std::max(worst, result.worst);
  }
  RecordProperty("worst", std::to_string(worst));
}

INSTANTIATE_TEST_SUITE_P(Ops, Gpu,
                         ::testing::Combine(::testing::Values(DType::f32, DType::bf16),
                                            ::testing::ValuesIn(ops_in_table())),
                         [](const auto& each) {
                           return std::string(name_of(std::get<0>(each.param))) + "_" +
                                  std::get<1>(each.param);
                         });

}  // namespace
}  // namespace vretnet
