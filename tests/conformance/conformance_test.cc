// Every op of every backend against the reference in double, over the table of core/conformance.
#include "core/conformance/conformance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <variant>

#include "core/backends/available.h"

namespace vretnet::conformance {
namespace {

std::string op_of(const Case& the_case) {
  return the_case.name.substr(0, the_case.name.find('/'));
}

// The kinds of ops in the table, in its order.
std::vector<std::string> ops_in_table() {
  std::vector<std::string> names;
  for (const Case& the_case : conformance_cases()) {
    if (names.empty() || std::find(names.begin(), names.end(), op_of(the_case)) == names.end()) {
      names.push_back(op_of(the_case));
    }
  }
  return names;
}

TEST(Table, CoversEveryOpUnderUniqueNames) {
  EXPECT_EQ(ops_in_table().size(), std::variant_size_v<ops::Op>);
  std::set<std::string> names;
  for (const Case& the_case : conformance_cases()) {
    EXPECT_TRUE(names.insert(the_case.name).second) << the_case.name;
    Operands operands(DType::f32, 1);
    EXPECT_EQ(ops::name_of(the_case.make(operands)), op_of(the_case));
  }
}

struct Subject {
  std::string backend;
  std::string op;
};
void PrintTo(const Subject& subject, std::ostream* stream) {
  *stream << subject.backend << " " << subject.op;
}

std::vector<Subject> subjects() {
  std::vector<Subject> subjects;
  for (const std::string& backend : available_backends()) {
    for (const std::string& op : ops_in_table()) subjects.push_back({backend, op});
  }
  return subjects;
}

class Conformance : public ::testing::TestWithParam<Subject> {};

TEST_P(Conformance, EqualsTheReferenceInDouble) {
  const std::unique_ptr<Backend> backend = make_backend(GetParam().backend, 2);
  // The reference sums in the very order in which the bound was counted: no slack.
  const double slack = GetParam().backend == "reference" ? 1 : kSlack;
  double worst = 0;
  for (const Case& the_case : conformance_cases()) {
    if (op_of(the_case) != GetParam().op) continue;
    const Result result = run_case(*backend, DType::f32, the_case, slack);
    EXPECT_TRUE(result.passed) << the_case.name << ": " << result.reason;
    worst = std::max(worst, result.worst);
  }
  RecordProperty("worst", std::to_string(worst));
}

INSTANTIATE_TEST_SUITE_P(Backends, Conformance, ::testing::ValuesIn(subjects()),
                         [](const auto& each) { return each.param.backend + "_" + each.param.op; });

// The double reference is what gradients are checked with: it has no shortcuts of its own.
TEST(ConformanceInDouble, Reference) {
  const std::unique_ptr<Backend> backend = make_backend("reference", 1);
  for (const Case& the_case : conformance_cases()) {
    if (op_of(the_case) != "LayerNorm" && op_of(the_case) != "Attention" && op_of(the_case) != "Retention")
      continue;
    const Result result = run_case(*backend, DType::f64, the_case);
    EXPECT_TRUE(result.passed) << the_case.name << ": " << result.reason;
  }
}

// The oracle of bf16 rounds nothing but its results.
class ConformanceInBf16 : public ::testing::TestWithParam<std::string> {};

TEST_P(ConformanceInBf16, Reference) {
  const std::unique_ptr<Backend> backend = make_backend("reference", 1);
  std::size_t ran = 0;
  for (const Case& the_case : conformance_cases()) {
    if (op_of(the_case) != GetParam() || !exists_in(DType::bf16, the_case)) continue;
    const Result result = run_case(*backend, DType::bf16, the_case);
    EXPECT_TRUE(result.passed) << the_case.name << ": " << result.reason;
    ++ran;
  }
  if (ran == 0) GTEST_SKIP() << GetParam() << " does not exist in bf16";
}

TEST(Table, HasManyCasesInBf16) {
  const std::vector<Case> cases = conformance_cases();
  EXPECT_GT(std::count_if(cases.begin(), cases.end(),
                          [](const Case& the_case) { return exists_in(DType::bf16, the_case); }),
            1000);
}

INSTANTIATE_TEST_SUITE_P(Ops, ConformanceInBf16, ::testing::ValuesIn(ops_in_table()),
                         [](const auto& each) { return each.param; });

class Bounds : public ::testing::TestWithParam<std::string> {};

TEST_P(Bounds, NoticeADroppedElement) {
  for (const Case& the_case : conformance_cases()) {
    if (op_of(the_case) != GetParam()) continue;
    const Result result = check_bound_is_sharp(the_case);
    EXPECT_TRUE(result.passed) << the_case.name << ": " << result.reason;
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, Bounds, ::testing::ValuesIn(ops_in_table()),
                         [](const auto& each) { return each.param; });

// A backend whose ops do what a test tells them to.
class Tampered : public Backend {
 public:
  using Tamper = std::function<void(const ops::Gemm&)>;
  explicit Tampered(Tamper tamper) : tamper_(std::move(tamper)), inner_(make_backend("reference", 1)) {}
  std::string name() const override { return "tampered"; }
  std::string description() const override { return name(); }
  void run(const ops::Op& op) override {
    inner_->run(op);
    tamper_(std::get<ops::Gemm>(op));
  }
  std::size_t workspace_bytes(const ops::Op& op) const override { return inner_->workspace_bytes(op); }
  void* allocate(std::size_t bytes) override { return inner_->allocate(bytes); }
  void release(void* data) override { inner_->release(data); }
  void upload(const View& target, const void* host) override { inner_->upload(target, host); }
  void download(const View& source, void* host) override { inner_->download(source, host); }
  void fill(const View& target, double value) override { inner_->fill(target, value); }

 private:
  Tamper tamper_;
  std::unique_ptr<Backend> inner_;
};

std::string reason_with(const Tampered::Tamper& tamper) {
  const Case gemm{"Gemm/tampered", [](Operands& operands) {
                    ops::Gemm op;
                    op.a = operands.input("a", {3, 5});
                    op.b = operands.input("b", {5, 4});
                    op.y = operands.output("y", {3, 4}, kGaps);
                    return op;
                  }};
  Tampered backend(tamper);
  const Result result = run_case(backend, DType::f32, gemm);
  EXPECT_EQ(result.passed, result.reason.empty());
  return result.reason;
}

TEST(Checker, PassesWhatIsRight) {
  EXPECT_EQ(reason_with([](const ops::Gemm&) {}), "");
}

TEST(Checker, NoticesAWrongValueANanAndAnInfinity) {
  EXPECT_NE(reason_with([](const ops::Gemm& op) { op.y.data<float>()[0] *= 1.00001f; }), "");
  EXPECT_NE(reason_with([](const ops::Gemm& op) { op.y.data<float>()[1] = NAN; }), "");
  EXPECT_NE(reason_with([](const ops::Gemm& op) { op.y.data<float>()[2] = INFINITY; }), "");
}

TEST(Checker, NoticesWritesElsewhere) {
  EXPECT_NE(reason_with([](const ops::Gemm& op) { op.y.data<float>()[4] = 1; }), "");  // the gap behind a row
  EXPECT_NE(reason_with([](const ops::Gemm& op) { op.y.data<float>()[-1] = 1; }), "");  // before the first
  EXPECT_NE(reason_with([](const ops::Gemm& op) { op.a.data<float>()[3] += 1; }), "");  // an input
  EXPECT_NE(reason_with([](const ops::Gemm& op) { op.workspace.data<float>()[0] = 1; }),
            "");  // behind an empty workspace
}

}  // namespace
}  // namespace vretnet::conformance
