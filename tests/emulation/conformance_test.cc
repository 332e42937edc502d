// The whole conformance table on the emulated CUDA backend, in several schedules.
#include "core/conformance/conformance.h"

#include <fmt/format.h>
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

// Heads wider than those of the table, in whole tiles of values and parts of one.
struct WideHeads {
  const char* op;
  std::int64_t key_width, value_width;
  Shape keys() const { return {1, kTokens, 1, key_width}; }
  Shape values() const { return {1, kTokens, 1, value_width}; }
  Shape state() const { return {1, 1, key_width, value_width}; }
  static constexpr std::int64_t kTokens = 18;
};
const WideHeads kWideHeads[] = {
    {"Retention", 64, 80},
    {"RetentionGradient", 64, 80},  // where keys and values change places: keys of 80
    {"RetentionBlock", 64, 128},    // the widest values that a block norms
    {"RetentionBlock", 128, 64},    // beside the widest keys
    {"RetentionBlock", 64, 144}};   // wider: normed by a kernel of its own

Case wide_case(const WideHeads& wide, bool bidirectional, std::int64_t chunk) {
  const std::string name = fmt::format("{}/wide heads {}x{} chunk {}{}", wide.op, wide.key_width,
                                       wide.value_width, chunk, bidirectional ? " bidirectional" : "");
  return {name, [=](conformance::Operands& operands) -> ops::Op {
            constexpr std::int64_t kTokens = WideHeads::kTokens;
            const ops::RetentionPattern pattern{.form = ops::RetentionForm::chunkwise,
                                                .bidirectional = bidirectional,
                                                .row_width = 9,
                                                .chunk = chunk};
            const auto tables = retention::make_decay_tables({.pattern = pattern,
                                                              .heads = 1,
                                                              .speed = retention::DecaySpeed::fast,
                                                              .height = 2,
                                                              .tokens = kTokens});
            const auto set = [&](auto op) {
              op.q = operands.input("q", wide.keys());
              op.k = operands.input("k", wide.keys());
              op.v = operands.input("v", wide.values());
              op.tables.gamma = operands.given("gamma", {1}, tables.gamma);
              op.tables.mask = operands.given("mask", {1, chunk, chunk}, tables.mask);
              op.tables.xi = operands.given("xi", {1, chunk}, tables.xi);
              op.tables.zeta = operands.given("zeta", {1, chunk}, tables.zeta);
              op.tables.carry = operands.given("carry", {1, 2}, tables.carry);
              op.tables.xi_up = operands.given("xi_up", {1, chunk}, tables.xi_up);
              op.tables.zeta_up = operands.given("zeta_up", {1, chunk}, tables.zeta_up);
              op.tables.row_scale = operands.given("row_scale", {1, kTokens}, tables.row_scale);
              op.pattern = pattern;
              if (!bidirectional) op.state_in = operands.input("state_in", wide.state());
              if constexpr (requires { op.state_out; }) {
                if (!bidirectional) op.state_out = operands.output("state_out", wide.state());
              }
              return op;
            };
            if (wide.op == std::string("Retention")) {
              auto op = set(ops::Retention());
              op.o = operands.output("o", wide.values());
              return op;
            }
            if (wide.op == std::string("RetentionBlock")) {
              auto op = set(ops::RetentionBlock());
              op.g = operands.input("g", wide.values());
              op.y = operands.output("y", wide.values());
              op.epsilon = 1e-2f;
              return op;
            }
            auto op = set(ops::RetentionGradient());
            op.d_o = operands.input("d_o", wide.values());
            op.d_q = operands.output("d_q", wide.keys());
            op.d_k = operands.output("d_k", wide.keys());
            op.d_v = operands.output("d_v", wide.values());
            if (!bidirectional) {
              op.d_state_out = operands.input("d_state_out", wide.state());
              op.d_state_in = operands.output("d_state_in", wide.state());
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
      for (const WideHeads& wide : kWideHeads) {
        for (const bool bidirectional : {false, true}) {
          for (const std::int64_t chunk : {5, 9, 18}) {
            const Case the_case = wide_case(wide, bidirectional, chunk);
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
