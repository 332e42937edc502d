#include "core/conformance/conformance.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/backends/reference/elements.h"
#include "core/backends/reference/tracked_backend.h"
#include "core/base/random.h"
#include "core/ops/fields.h"

namespace vretnet::conformance {
namespace {

using reference::Tracked;

std::uint64_t seed_of(const Case& the_case) {
  std::uint64_t seed = 0;
  for (char letter : the_case.name) seed = mix64(seed + static_cast<unsigned char>(letter));
  return seed;
}

// Which views of a case are wide in an op that runs in `dtype`: what fields.h says of them; of those that may
// be either, every other one, as the case's seed has it.
Operands::Storage storage_of(const Case& the_case, DType dtype) {
  Operands::Storage storage{dtype};
  if (dtype != DType::bf16) return storage;
  Operands operands({DType::f64}, seed_of(the_case));
  const ops::Op op = the_case.make(operands);
  std::uint64_t turns = seed_of(the_case);
  const auto* product = std::get_if<ops::Gemm>(&op);
  const bool narrow = product && (product->residual || product->pre_activation ||
                                  product->activation != ops::ActivationKind::none);
  ops::for_each_field(op, [&](const ops::Field& field) {
    if (!field.view) return;
    bool wide = field.storage == ops::Storage::wide;
    if (field.storage == ops::Storage::either) {
      wide = turns % 2 == 1 && !narrow;
      turns /= 2;
    }
    if (!wide) return;
    for (const Operands::Operand& operand : operands.all()) {
      if (operand.buffer.get() == field.view.buffer()) storage.wide.insert(operand.name);
    }
  });
  return storage;
}

// One output element: its value in double and what rounding can do to it, in units of u.
using Expected = std::vector<Tracked>;

// The op's workspace with guards around it, full of NaN.
class GuardedWorkspace {
 public:
  GuardedWorkspace(Backend& backend, std::size_t bytes)
      : backend_(backend),
        floats_((bytes + 2 * kMargin + 3) / sizeof(float)),
        memory_(backend, floats_ * sizeof(float)) {
    backend.fill(View(memory_.buffer(), DType::f32, {floats()}), kGuard);
    inner_ = View(memory_.buffer(), DType::f32, {floats() - 2 * kMarginFloats}, kMarginFloats);
    backend.fill(inner_, std::numeric_limits<double>::quiet_NaN());
  }
  const View& view() const { return inner_; }
  bool guards_untouched() const {
    std::vector<float> all(floats_);
    backend_.download(View(memory_.buffer(), DType::f32, {floats()}), all.data());
    const auto untouched = [](float value) { return value == static_cast<float>(kGuard); };
    return std::all_of(all.begin(), all.begin() + kMarginFloats, untouched) &&
           std::all_of(all.end() - kMarginFloats, all.end(), untouched);
  }

 private:
  static constexpr std::size_t kMargin = 64;
  static constexpr std::int64_t kMarginFloats = kMargin / sizeof(float);
  std::int64_t floats() const { return static_cast<std::int64_t>(floats_); }

  Backend& backend_;
  std::size_t floats_;
  Allocation memory_;
  View inner_;
};

// Gives the operands' memory back, also where an op throws.
struct Released {
  Operands& operands;
  Backend& backend;
  ~Released() { operands.release(backend); }
};

// What the reference expects in the written operands, in their order. `dropped` ≥ 0: of a run in which this
// operand lost its last element.
std::vector<Expected> expect(const Case& the_case, const Operands::Storage& storage, int dropped = -1) {
  const std::unique_ptr<Backend> tracked = reference::make_tracked_backend();
  Operands operands(storage, seed_of(the_case));
  ops::Op op = the_case.make(operands);
  if (dropped >= 0) operands.drop_last_elements(static_cast<std::size_t>(dropped), the_case.smallest_mistake);
  const Released released{operands, *tracked};
  operands.upload(*tracked, /*in_doubles=*/true);
  const Allocation workspace(*tracked, tracked->workspace_bytes(op));
  set_workspace(
      op, View(workspace.buffer(), DType::f64, {static_cast<std::int64_t>(workspace.buffer()->bytes / 8)}));
  tracked->run(op);
  std::vector<Expected> expected;
  for (const Operands::Operand& operand : operands.all()) {
    if (!operand.written()) continue;
    Expected& elements = expected.emplace_back();
    const auto* memory = static_cast<const Tracked*>(operand.buffer->data);
    const std::int64_t apart = reference::spacing<Tracked>(operand.view);
    for (std::int64_t position : operand.positions) elements.push_back(memory[apart * position]);
  }
  return expected;
}

double bound_of(const Tracked& expected, double slack, DType dtype) {
  const double unit = dtype == DType::f64 ? 0x1p-53 : reference::kUnitRoundoff;
  // A result below the smallest normal number may be flushed to 0.
  const double smallest =
      dtype == DType::f64 ? std::numeric_limits<double>::min() : std::numeric_limits<float>::min();
  return slack * (unit * expected.error + smallest);
}

// Bits, because NaN is what lies in the gaps of inputs.
bool same_bits(double a, double b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
}

// Compares one written operand; sets result.worst, and result.reason at the first mistake.
void compare(const Operands::Operand& operand, const std::vector<double>& actual, const Expected& expected,
             double slack, DType dtype, Result& result) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double value = actual[static_cast<std::size_t>(operand.positions[i])];
    const double difference = std::abs(value - expected[i].value),
                 bound = bound_of(expected[i], slack, dtype);
    result.worst = std::max(result.worst, difference / bound);
    if (result.reason.empty() && !(difference <= bound)) {
      result.reason = fmt::format("{}[{}] of {} is {:.9g}, {:.9g} ± {:.2g} was expected", operand.name, i,
                                  operand.view.shape().text(), value, expected[i].value, bound);
    }
  }
}

// Everything of an operand that the op must leave alone: gaps and guards, and all of an input.
void expect_untouched(const Operands::Operand& operand, const std::vector<double>& actual, Result& result) {
  std::vector<char> may_change(actual.size(), 0);
  if (operand.written()) {
    for (std::int64_t position : operand.positions) may_change[static_cast<std::size_t>(position)] = 1;
  }
  for (std::size_t i = 0; i < actual.size() && result.reason.empty(); ++i) {
    if (may_change[i] || same_bits(actual[i], operand.initial[i])) continue;
    result.reason = fmt::format("{}: element {} of its memory, which is not to be written, became {:.9g}",
                                operand.name, i, actual[i]);
  }
}

}  // namespace

bool exists_in(DType dtype, const Case& the_case) {
  Operands operands({DType::f64}, 0);
  return dtype != DType::bf16 || ops::runs_in_bf16(the_case.make(operands));
}

Result run_case(Backend& backend, DType dtype, const Case& the_case) {
  return run_case(backend, dtype, the_case, dtype == DType::bf16 ? kSlackInBf16 : kSlack);
}

Result run_case(Backend& backend, DType dtype, const Case& the_case, double slack) {
  Result result;
  const Operands::Storage storage = storage_of(the_case, dtype);
  // Doubles are as exact as what f32 is compared with.
  const std::vector<Expected> expected =
      expect(the_case, dtype == DType::bf16 ? storage : Operands::Storage{DType::f64});
  Operands operands(storage, seed_of(the_case));
  ops::Op op = the_case.make(operands);
  ops::validate(op);
  const Released released{operands, backend};
  operands.upload(backend);
  const GuardedWorkspace workspace(backend, backend.workspace_bytes(op));
  set_workspace(op, workspace.view());
  backend.weights_changed();
  backend.run(op);
  backend.synchronize();
  auto next = expected.begin();
  for (const Operands::Operand& operand : operands.all()) {
    const std::vector<double> actual = operands.download(backend, operand);
    expect_untouched(operand, actual, result);
    if (operand.written()) compare(operand, actual, *next++, slack, dtype, result);
  }
  if (result.reason.empty() && !workspace.guards_untouched()) result.reason = "wrote outside its workspace";
  result.passed = result.reason.empty();
  return result;
}

Result check_bound_is_sharp(const Case& the_case) {
  Result result;
  const Operands::Storage storage{DType::f64};
  const std::vector<Expected> expected = expect(the_case, storage);
  const bool writes_nothing = std::all_of(expected.begin(), expected.end(),
                                          [](const Expected& elements) { return elements.empty(); });
  Operands operands(storage, seed_of(the_case));
  the_case.make(operands);
  for (std::size_t i = 0; i < operands.all().size(); ++i) {
    const Operands::Operand& operand = operands.all()[i];
    const bool random = operand.kind == Operands::Kind::input || operand.kind == Operands::Kind::update;
    if (!random || operand.positions.empty() || writes_nothing) continue;
    const std::vector<Expected> wrong = expect(the_case, storage, static_cast<int>(i));
    double excess = 0;
    for (std::size_t o = 0; o < wrong.size(); ++o) {
      for (std::size_t e = 0; e < wrong[o].size(); ++e) {
        const double difference = std::abs(wrong[o][e].value - expected[o][e].value);
        excess = std::max(excess, difference / bound_of(expected[o][e], kSlack, DType::f32));
      }
    }
    const auto& without = the_case.without_influence;
    const bool has_influence = std::find(without.begin(), without.end(), operand.name) == without.end();
    if (has_influence == (excess > 1)) continue;
    result.reason =
        fmt::format("without the last element of {} an output moves by {:.3g} bounds", operand.name, excess);
  }
  result.passed = result.reason.empty();
  return result;
}

}  // namespace vretnet::conformance
