#include "core/backends/reference/rounded.h"

#include <algorithm>
#include <deque>

#include "core/backends/reference/elements.h"
#include "core/base/ensure.h"
#include "core/ops/fields.h"
#include "core/ops/workspace.h"
#include "core/tensor/bfloat16.h"

namespace vretnet::reference {
namespace {

// A view and its elements in double. Views of the same elements share a copy: ops in place stay in place.
struct Copy {
  View original;
  Allocation memory;
};

bool same(const View& a, const View& b) {
  if (a.buffer() != b.buffer() || a.offset() != b.offset() || !(a.shape() == b.shape())) return false;
  for (int axis = 0; axis < a.rank(); ++axis) {
    if (a.stride(axis) != b.stride(axis)) return false;
  }
  return true;
}

// visit(element, double&) for all elements of a view and their copies.
template <class Visit>
void for_each_pair(const Copy& copy, const Visit& visit) {
  const Elements<double> doubles(copy.memory.view());
  const auto walk = [&](const auto& elements) {
    for_each_index(elements.shape(), [&](const Indices& index) { visit(elements[index], doubles[index]); });
  };
  switch (copy.original.dtype()) {
    case DType::f32:
      return walk(Elements<float>(copy.original));
    case DType::f64:
      return walk(Elements<double>(copy.original));
    case DType::bf16:
      return walk(Elements<BFloat16>(copy.original));
    case DType::s8:
      ensure(false, "integers beside bf16");
  }
}

struct Widen {
  void operator()(BFloat16 element, double& number) const { number = to_float(element); }
  void operator()(double element, double& number) const { number = element; }
};
struct Round {
  void operator()(BFloat16& element, double number) const {
    element = to_bfloat16(static_cast<float>(number));
  }
  void operator()(float& element, double number) const { element = static_cast<float>(number); }
  void operator()(double& element, double number) const { element = number; }
};

}  // namespace

void run_rounded(Backend& backend, const ops::Op& op) {
  ops::Op in_double = op;
  std::deque<Copy> copies;
  std::deque<const Copy*> written;
  ops::for_each_field(in_double, [&](const ops::Field& field) {
    if (!field.view) return;
    const auto known = std::find_if(copies.begin(), copies.end(),
                                    [&](const Copy& copy) { return same(copy.original, field.view); });
    Copy* copy = known == copies.end() ? nullptr : &*known;
    if (copy == nullptr) {
      copy = &copies.emplace_back(Copy{field.view, Allocation(backend, DType::f64, field.view.shape())});
      for_each_pair(*copy, Widen());
    }
    if (field.use != ops::Use::read) written.push_back(copy);
    const_cast<View&>(field.view) = copy->memory.view();  // of in_double, which is ours
  });
  const std::size_t bytes = backend.workspace_bytes(in_double);
  Allocation workspace;
  if (bytes > 0) {
    workspace = Allocation(backend, DType::f64, ops::workspace_shape(bytes, DType::f64));
    set_workspace(in_double, workspace.view());
  }
  backend.run(in_double);
  for (const Copy* copy : written) for_each_pair(*copy, Round());
}

}  // namespace vretnet::reference
