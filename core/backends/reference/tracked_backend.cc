#include "core/backends/reference/tracked_backend.h"

#include <cmath>
#include <vector>

#include "core/backends/reference/kernels.h"
#include "core/backends/reference/reference_backend.h"
#include "core/ops/composed.h"
#include "core/ops/fields.h"
#include "core/retention/retention.h"

namespace vretnet::reference {
namespace {

// An op of the retention family over contiguous doubles: project(element) of every element that it reads.
template <class AnOp>
class Projection {
 public:
  template <class Project>
  Projection(const AnOp& op, const Project& project) : op_(op) {
    // The views of op_, which is ours, are exchanged for contiguous ones of the same shapes.
    ops::visit_fields_of(op_, [&](const ops::Field& field) {
      if (!field.view) return;
      const Elements<Tracked> original(field.view);
      const Allocation& copy = copies_.emplace_back(*memory_, DType::f64, field.view.shape());
      if (field.use == ops::Use::read) {
        double* next = copy.view().template data<double>();
        for_each_index(original.shape(), [&](const Indices& index) { *next++ = project(original[index]); });
      }
      const_cast<View&>(field.view) = copy.view();
    });
    const auto bytes = static_cast<Index>(retention::workspace_bytes(op_));
    op_.workspace = copies_.emplace_back(*memory_, DType::f64, Shape{bytes / 8}).view();
    retention::run<double>(op_);
  }

  // The values of all the fields, one after the other as in `fields`.
  const double* field(std::size_t index) const { return copies_[index].view().data<double>(); }

 private:
  std::unique_ptr<Backend> memory_ = make_reference_backend();
  std::vector<Allocation> copies_;
  AnOp op_;
};

// Roundings of a retention: a score has d_k or d_v products, a sum runs over the tokens, a state is made of
// all of them and decays as often. In bf16 two factors of every term may be rounded to it (what a state is
// given and the state that is read; or the score), and the output once more between two sweeps.
double roundings(const auto& op) {
  const double to_bf16 = op.q.dtype() == DType::bf16 ? 3 * kRoundingsOfBf16 : 0;
  return static_cast<double>(2 * op.q.extent(1) + op.q.extent(3) + op.v.extent(3) + 8) + to_bf16;
}

// A retention is linear in every view, with decays that are never negative. So the retention of magnitudes is
// Σ|terms|, and what it gains where every magnitude is larger by u·error is what the errors of the inputs
// make of the output.
template <class AnOp>
void run_retention(const AnOp& op) {
  if (op.q.elements() == 0) return;
  const Projection<AnOp> values(op, [](const Tracked& x) { return x.value; });
  const Projection<AnOp> terms(op, [](const Tracked& x) { return std::abs(x.value); });
  const Projection<AnOp> enlarged(
      op, [](const Tracked& x) { return std::abs(x.value) + kUnitRoundoff * x.error; });
  std::size_t field_index = 0;
  ops::visit_fields_of(op, [&](const ops::Field& field) {
    if (!field.view) return;
    const std::size_t i = field_index++;
    if (field.use == ops::Use::read) return;
    const Elements<Tracked> output(field.view);
    std::size_t next = 0;
    for_each_index(output.shape(), [&](const Indices& index) {
      const double value = values.field(i)[next], sum = terms.field(i)[next],
                   larger = enlarged.field(i)[next];
      output[index] = {value, std::abs(value), roundings(op) * sum + (larger - sum) / kUnitRoundoff};
      ++next;
    });
  });
}

class TrackedBackend final : public Backend {
 public:
  TrackedBackend() : memory_(make_reference_backend()) {}

  std::string name() const override { return "tracked"; }
  std::string description() const override { return "the reference with magnitudes"; }
  bool runs_in(DType dtype) const override { return dtype != DType::s8; }

  void run(const ops::Op& op) override {
    std::visit([&](const auto& each) { run_one(each); }, op);
    if (is_composed(op)) return;  // its parts have been charged
    ops::for_each_field(op, [](const ops::Field& field) {
      if (!field.view || field.use == ops::Use::read || field.view.dtype() != DType::bf16) return;
      for_each_element(field.view, [](Tracked& element) {
        element = Tracked::rounded(element.value, element.error, kRoundingsOfBf16);
      });
    });
  }
  std::size_t workspace_bytes(const ops::Op& op) const override {
    return std::visit([&](const auto& each) { return workspace_of(each); }, op);
  }

  void* allocate(std::size_t bytes) override { return memory_->allocate((bytes + 1) / 2 * sizeof(Tracked)); }
  void release(void* data) override { memory_->release(data); }
  void upload(const View& target, const void* host) override {
    if (target.dtype() == DType::s8) return memory_->upload(target, host);
    const double* next = static_cast<const double*>(host);
    for_each_element(target, [&](Tracked& element) { element = *next++; });
  }
  void download(const View& source, void* host) override {
    double* next = static_cast<double*>(host);
    for_each_element(source, [&](Tracked& element) { *next++ = element.value; });
  }
  void fill(const View& target, double value) override {
    for_each_element(target, [&](Tracked& element) { element = value; });
  }

 private:
  static bool is_composed(const ops::Op& op) {
    return std::holds_alternative<ops::RetentionBlock>(op) ||
           std::holds_alternative<ops::RetentionBlockGradient>(op);
  }
  static void for_each_element(const View& view, auto&& visit) {
    const Elements<Tracked> elements(view);
    for_each_index(view.shape(), [&](const Indices& index) { visit(elements[index]); });
  }

  static void run_one(const auto& op) { reference::run<Tracked>(op); }
  static void run_one(const ops::Convert& op) { convert<Tracked, Tracked>(op); }
  static void run_one(const ops::Retention& op) { run_retention(op); }
  static void run_one(const ops::RetentionGradient& op) { run_retention(op); }
  void run_one(const ops::RetentionBlock& op) { ops::run_composed(*this, op); }
  void run_one(const ops::RetentionBlockGradient& op) { ops::run_composed(*this, op); }
  static std::size_t workspace_of(const auto&) { return 0; }
  std::size_t workspace_of(const ops::RetentionBlock& op) const {
    return ops::composed_workspace_bytes(*this, op);
  }
  std::size_t workspace_of(const ops::RetentionBlockGradient& op) const {
    return ops::composed_workspace_bytes(*this, op);
  }

  std::unique_ptr<Backend> memory_;
};

}  // namespace

std::unique_ptr<Backend> make_tracked_backend() {
  return std::make_unique<TrackedBackend>();
}

}  // namespace vretnet::reference
