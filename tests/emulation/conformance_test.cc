// The whole conformance table on the emulated CUDA backend, in several schedules.
#include "core/conformance/conformance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/backends/cuda/cuda_backend.h"
#include "tests/emulation/fake/runtime.h"
#include "tests/emulation/schedules.h"

namespace vretnet::emulation {
namespace {

using conformance::Case;

std::string op_of(const Case& the_case) {
  return the_case.name.substr(0, the_case.name.find('/'));
}

struct Subject {
  Schedule schedule;
  std::string op;
};
void PrintTo(const Subject& subject, std::ostream* stream) {
  *stream << text_of(subject.schedule) << " " << subject.op;
}

std::vector<Subject> subjects() {
  std::vector<Subject> subjects;
  for (const Schedule& schedule : kSchedules) {
    std::set<std::string> seen;
    for (const Case& the_case : conformance::conformance_cases()) {
      if (seen.insert(op_of(the_case)).second) subjects.push_back({schedule, op_of(the_case)});
    }
  }
  return subjects;
}

class CudaEmulated : public ::testing::TestWithParam<Subject> {};

TEST_P(CudaEmulated, EqualsTheReferenceInDouble) {
  reset();
  set_schedule(GetParam().schedule);
  const std::unique_ptr<Backend> backend = make_cuda_backend(0);
  double worst = 0;
  for (const Case& the_case : conformance::conformance_cases()) {
    if (op_of(the_case) != GetParam().op) continue;
    try {
      const conformance::Result result = conformance::run_case(*backend, DType::f32, the_case);
      EXPECT_TRUE(result.passed) << the_case.name << ": " << result.reason;
      worst = std::max(worst, result.worst);
    } catch (const std::exception& error) {
      ADD_FAILURE() << the_case.name << ": " << error.what();
    }
    for (const std::string& violation : violations()) ADD_FAILURE() << the_case.name << ": " << violation;
    reset();
  }
  RecordProperty("worst", std::to_string(worst));
}

INSTANTIATE_TEST_SUITE_P(Table, CudaEmulated, ::testing::ValuesIn(subjects()),
                         [](const auto& each) { return text_of(each.param.schedule) + "_" + each.param.op; });

}  // namespace
}  // namespace vretnet::emulation
