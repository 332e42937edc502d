// The whole conformance table on the emulated CUDA backend, in several schedules.
#include "core/conformance/conformance.h"

#include <gtest/gtest.h>

#include "core/backends/cuda/cuda_backend.h"
#include "core/retention/decay.h"
#include "tests/emulation/fake/runtime.h"
#include "tests/emulation/schedules.h"
#include "tests/emulation/table.h"

namespace vretnet::emulation {
namespace {

using conformance::Case;

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

// Heads wider than those of the table, in whole tiles of values and parts of one: keys of 64 and, in the
// gradients, where keys and values change places, of 80.
Case wide_heads(bool gradient, bool bidirectional, std::int64_t chunk) {
  constexpr std::int64_t kTokens = 18, kKeys = 64, kValues = 80;
  const std::string name = std::string(gradient ? "RetentionGradient" : "Retention") + "/wide heads chunk " +
                           std::to_string(chunk) + (bidirectional ? " bidirectional" : "");
  return {name, [=](conformance::Operands& operands) -> ops::Op {
            const Shape keys{1, kTokens, 1, kKeys}, values{1, kTokens, 1, kValues};
            const ops::RetentionPattern pattern{.form = ops::RetentionForm::chunkwise,
                                                .bidirectional = bidirectional,
                                                .row_width = 9,
                                                .chunk = chunk};
            const auto tables = retention::make_decay_tables({.pattern = pattern,
                                                              .heads = 1,
                                                              .speed = retention::DecaySpeed::fast,
                                                              .height = 2,
                                                              .tokens = kTokens});
            const auto set = [&](auto& op) {
              op.q = operands.input("q", keys);
              op.k = operands.input("k", keys);
              op.v = operands.input("v", values);
              op.tables.gamma = operands.given("gamma", {1}, tables.gamma);
              op.tables.mask = operands.given("mask", {1, chunk, chunk}, tables.mask);
              op.tables.xi = operands.given("xi", {1, chunk}, tables.xi);
              op.tables.zeta = operands.given("zeta", {1, chunk}, tables.zeta);
              op.tables.carry = operands.given("carry", {1, 2}, tables.carry);
              op.tables.xi_up = operands.given("xi_up", {1, chunk}, tables.xi_up);
              op.tables.zeta_up = operands.given("zeta_up", {1, chunk}, tables.zeta_up);
              op.tables.row_scale = operands.given("row_scale", {1, kTokens}, tables.row_scale);
              op.pattern = pattern;
              if (!bidirectional) op.state_in = operands.input("state_in", {1, 1, kKeys, kValues});
            };
            if (!gradient) {
              ops::Retention op;
              set(op);
              op.o = operands.output("o", values);
              if (!bidirectional) op.state_out = operands.output("state_out", {1, 1, kKeys, kValues});
              return op;
            }
            ops::RetentionGradient op;
            set(op);
            op.d_o = operands.input("d_o", values);
            op.d_q = operands.output("d_q", keys);
            op.d_k = operands.output("d_k", keys);
            op.d_v = operands.output("d_v", values);
            if (!bidirectional) {
              op.d_state_out = operands.input("d_state_out", {1, 1, kKeys, kValues});
              op.d_state_in = operands.output("d_state_in", {1, 1, kKeys, kValues});
            }
            return op;
          }};
}

TEST(CudaEmulatedWideHeads, EqualTheReferenceInDouble) {
  reset();
  const std::unique_ptr<Backend> backend = make_cuda_backend(0);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Schedule& schedule : kSchedules) {
      set_schedule(schedule);
      for (const bool gradient : {false, true}) {
        for (const bool bidirectional : {false, true}) {
          for (const std::int64_t chunk : {5, 9, 18}) {
            const Case the_case = wide_heads(gradient, bidirectional, chunk);
            const conformance::Result result = conformance::run_case(*backend, dtype, the_case);
            EXPECT_TRUE(result.passed) << the_case.name << ": " << result.reason;
            for (const std::string& violation : violations())
              ADD_FAILURE() << the_case.name << ": " << violation;
            reset();
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace vretnet::emulation
