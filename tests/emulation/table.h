// The conformance table as tests run it on an emulated device: op by op, every case of an op.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "core/conformance/conformance.h"
#include "tests/emulation/emulator.h"

namespace vretnet::emulation {

inline const std::vector<conformance::Case>& table() {
  static const std::vector<conformance::Case> cases = conformance::conformance_cases();
  return cases;
}
inline std::string op_of(const conformance::Case& the_case) {
  return the_case.name.substr(0, the_case.name.find('/'));
}

// The ops that the table has in this dtype.
inline std::vector<std::string> ops_of_table(DType dtype) {
  std::set<std::string> seen;
  std::vector<std::string> ops;
  for (const conformance::Case& the_case : table()) {
    if (seen.insert(op_of(the_case)).second && conformance::exists_in(dtype, the_case))
      ops.push_back(op_of(the_case));
  }
  return ops;
}

// Every case of an op passes without a violation; `prepare` is called with a case's number before it.
inline void expect_table_holds(Backend& backend, DType dtype, const std::string& op,
                               const std::function<void(std::size_t)>& prepare) {
  double worst = 0;
  std::size_t number = 0;
  for (const conformance::Case& the_case : table()) {
    if (op_of(the_case) != op) continue;
    reset();
    prepare(number++);
    try {
      const conformance::Result result = conformance::run_case(backend, dtype, the_case);
      EXPECT_TRUE(result.passed) << the_case.name << ": " << result.reason;
      worst = std::max(worst, result.worst);
    } catch (const std::exception& error) {
      ADD_FAILURE() << the_case.name << ": " << error.what();
    }
    for (const std::string& violation : violations()) ADD_FAILURE() << the_case.name << ": " << violation;
  }
  reset();
  EXPECT_GT(number, 0u) << op;
  ::testing::Test::RecordProperty("worst", std::to_string(worst));
}

}  // namespace vretnet::emulation
