#include "core/backends/reference/tracked_backend.h"

#include <algorithm>
#include <vector>

#include "core/backends/reference/kernels.h"
#include "core/backends/reference/reference_backend.h"
#include "core/base/check.h"
#include "core/ops/composed.h"
#include "core/ops/fields.h"
#include "core/retention/retention.h"

namespace vretnet::reference {
namespace {

// One of the two numbers of every element of an op's views, in contiguous doubles, and the op over these.
template <class AnOp>
class Plane {
 public:
  Plane(const AnOp& op, double Tracked::*part) : op_(op), part_(part) {
    // The views of op_, which is ours, are exchanged for contiguous ones of the same shapes.
    ops::visit_fields_of(op_, [&](const ops::Field& field) {
      if (!field.view) return;
      Copy& copy = copies_.emplace_back(field.view);
      copy.elements.resize(static_cast<std::size_t>(field.view.elements()));
      copy.buffer =
          std::make_unique<Buffer>(Buffer{copy.elements.data(), copy.elements.size() * sizeof(double)});
      if (field.use != ops::Use::write)
        transfer(copy, [](Tracked& from, double& to, auto p) { to = from.*p; });
      const_cast<View&>(field.view) = View(copy.buffer.get(), DType::f64, field.view.shape());
    });
    workspace_.resize(retention::workspace_bytes(op_) / sizeof(double) + kAligned);
    const auto misplaced = reinterpret_cast<std::uintptr_t>(workspace_.data()) / sizeof(double) % kAligned;
    workspace_buffer_ = {workspace_.data() + (kAligned - misplaced) % kAligned,
                         (workspace_.size() - kAligned) * sizeof(double)};
    op_.workspace = View(&workspace_buffer_, DType::f64, {static_cast<Index>(workspace_.size() - kAligned)});
  }

  void run() {
    retention::run<double>(op_);
    std::size_t next = 0;
    ops::visit_fields_of(op_, [&](const ops::Field& field) {
      if (!field.view) return;
      Copy& copy = copies_[next++];
      if (field.use != ops::Use::read)
        transfer(copy, [](Tracked& to, double& from, auto p) { to.*p = from; });
    });
  }

 private:
  static constexpr std::size_t kAligned = 64 / sizeof(double);
  struct Copy {
    explicit Copy(const View& view) : original(view) {}
    View original;
    std::vector<double> elements;
    std::unique_ptr<Buffer> buffer;
  };

  void transfer(Copy& copy, auto&& move) {
    const Elements<Tracked> original(copy.original);
    std::size_t next = 0;
    for_each_index(original.shape(),
                   [&](const Indices& index) { move(original[index], copy.elements[next++], part_); });
  }

  AnOp op_;
  double Tracked::*part_;
  std::vector<Copy> copies_;
  std::vector<double> workspace_;
  Buffer workspace_buffer_;
};

class TrackedBackend final : public Backend {
 public:
  TrackedBackend() : memory_(make_reference_backend()) {}

  std::string name() const override { return "tracked"; }
  std::string description() const override { return "the reference with magnitudes"; }

  void run(const ops::Op& op) override {
    std::visit([&](const auto& each) { run_one(each); }, op);
  }
  std::size_t workspace_bytes(const ops::Op& op) const override {
    return std::visit([&](const auto& each) { return workspace_of(each); }, op);
  }

  void* allocate(std::size_t bytes) override {
    return memory_->allocate(bytes / sizeof(double) * sizeof(Tracked));
  }
  void release(void* data) override { memory_->release(data); }
  void upload(const View& target, const void* host) override {
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
  static void for_each_element(const View& view, auto&& visit) {
    const Elements<Tracked> elements(view);
    for_each_index(view.shape(), [&](const Indices& index) { visit(elements[index]); });
  }

  static void run_one(const auto& op) { reference::run<Tracked>(op); }
  static void run_one(const ops::Convert& op) { convert<Tracked, Tracked>(op); }
  // A retention is linear in every view with decays that are never negative, so its magnitude is the
  // retention of magnitudes.
  static void run_one(const ops::Retention& op) { run_planes(op); }
  static void run_one(const ops::RetentionGradient& op) { run_planes(op); }
  void run_one(const ops::RetentionBlock& op) { ops::run_composed(*this, op); }
  void run_one(const ops::RetentionBlockGradient& op) { ops::run_composed(*this, op); }
  template <class AnOp>
  static void run_planes(const AnOp& op) {
    if (op.q.elements() == 0) return;
    Plane<AnOp> values(op, &Tracked::value), magnitudes(op, &Tracked::magnitude);
    values.run();
    magnitudes.run();
  }

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
