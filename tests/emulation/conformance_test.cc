// The whole conformance table on the emulated CUDA backend, in several schedules.
#include "core/conformance/conformance.h"

#include <gtest/gtest.h>

#include "core/backends/cuda/cuda_backend.h"
#include "tests/emulation/fake/runtime.h"
#include "tests/emulation/schedules.h"
#include "tests/emulation/table.h"

namespace vretnet::emulation {
namespace {

struct Subject {
  DType dtype;
  Schedule schedule;
  std::string op;
};
std::string text_of(const Subject& subject) {
  return std::string(name_of(subject.dtype)) + "_" + text_of(subject.schedule) + "_" + subject.op;
}
void PrintTo(const Subject& subject, std::ostream* stream) {
  *stream << text_of(subject);
}

std::vector<Subject> subjects() {
  std::vector<Subject> subjects;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const std::vector<std::string> ops = ops_of_table(dtype);
    for (const Schedule& schedule : kSchedules) {
      for (const std::string& op : ops) subjects.push_back({dtype, schedule, op});
    }
  }
  return subjects;
}

class CudaEmulated : public ::testing::TestWithParam<Subject> {};

TEST_P(CudaEmulated, EqualsTheReferenceInDouble) {
  reset();
  const std::unique_ptr<Backend> backend = make_cuda_backend(0);
  expect_table_holds(*backend, GetParam().dtype, GetParam().op,
                     [](std::size_t) { set_schedule(GetParam().schedule); });
}

INSTANTIATE_TEST_SUITE_P(Table, CudaEmulated, ::testing::ValuesIn(subjects()),
                         [](const auto& each) { return text_of(each.param); });

}  // namespace
}  // namespace vretnet::emulation
