// Add, BroadcastAdd, ScaleSamples, Activation, Gate and their gradients, and the epilogue of a Gemm: one pass
// over memory each.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/elementwise.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h:
#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/row_kernels-inl.h"
#include "core/backends/onednn/rows.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

void add_row(const float* a, const float* b, float* y, std::int64_t n) {
  for_vectors(n, [&](auto lanes, std::int64_t i)
                     HWY_ATTR { lanes.store(hn::Add(lanes.load(a + i), lanes.load(b + i)), y + i); });
}

struct Activated {
  Vector value, derivative;
};
template <ops::ActivationKind kKind>
HWY_INLINE Activated activate_and_derive(Vector x) {
  if constexpr (kKind == ops::ActivationKind::gelu) {
    const Vector cumulative = normal_cumulative(x);
    return {hn::Mul(x, cumulative), hn::MulAdd(x, normal_density(x), cumulative)};
  }
  if constexpr (kKind == ops::ActivationKind::silu) {
    const Vector s = sigmoid(x);
    return {hn::Mul(x, s), swish_derivative(x, s)};
  }
  return {x, hn::Set(Floats(), 1.0f)};
}

template <ops::ActivationKind kKind>
HWY_INLINE void epilogue_of(const float* z, const float* residual, float* y, std::int64_t n,
                            bool accumulate) {
  for_vectors(n, [&](auto lanes, std::int64_t i) HWY_ATTR {
    Vector value = activate<kKind>(lanes.load(z + i));
    if (residual) value = hn::Add(value, lanes.load(residual + i));
    if (accumulate) value = hn::Add(value, lanes.load(y + i));
    lanes.store(value, y + i);
  });
}
void epilogue_row(const float* z, const float* residual, float* y, std::int64_t n, ops::ActivationKind kind,
                  bool accumulate) {
  switch (kind) {
    case ops::ActivationKind::none:
      return epilogue_of<ops::ActivationKind::none>(z, residual, y, n, accumulate);
    case ops::ActivationKind::gelu:
      return epilogue_of<ops::ActivationKind::gelu>(z, residual, y, n, accumulate);
    case ops::ActivationKind::silu:
      return epilogue_of<ops::ActivationKind::silu>(z, residual, y, n, accumulate);
  }
}

// y may be null, and x.
template <ops::ActivationKind kKind>
HWY_INLINE void activation_gradient_of(const float* x, const float* d_y, float* d_x, float* y,
                                       std::int64_t n) {
  for_vectors(n, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const Activated at = activate_and_derive<kKind>(lanes.load(x + i));
    lanes.store(hn::Mul(lanes.load(d_y + i), at.derivative), d_x + i);
    if (y) lanes.store(at.value, y + i);
  });
}
void activation_gradient_row(const float* x, const float* d_y, float* d_x, float* y, std::int64_t n,
                             ops::ActivationKind kind) {
  switch (kind) {
    case ops::ActivationKind::none:
      return activation_gradient_of<ops::ActivationKind::none>(x, d_y, d_x, y, n);
    case ops::ActivationKind::gelu:
      return activation_gradient_of<ops::ActivationKind::gelu>(x, d_y, d_x, y, n);
    case ops::ActivationKind::silu:
      return activation_gradient_of<ops::ActivationKind::silu>(x, d_y, d_x, y, n);
  }
}

// residual may be null.
void scale_row(const float* x, const float* residual, float* y, float factor, std::int64_t n) {
  const Vector factors = hn::Set(Floats(), factor);
  for_vectors(n, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const Vector value = lanes.load(x + i);
    lanes.store(residual ? hn::MulAdd(value, factors, lanes.load(residual + i)) : hn::Mul(value, factors),
                y + i);
  });
}

void gate_row(const float* g, const float* x, float* y, std::int64_t n, bool accumulate) {
  for_vectors(n, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const Vector gate = swish(lanes.load(g + i)), value = lanes.load(x + i);
    lanes.store(accumulate ? hn::MulAdd(gate, value, lanes.load(y + i)) : hn::Mul(gate, value), y + i);
  });
}

void gate_gradient_row(const float* g, const float* x, const float* d_y, float* d_g, float* d_x,
                       std::int64_t n) {
  for_vectors(n, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const Vector gate = lanes.load(g + i), value = lanes.load(x + i), d = lanes.load(d_y + i);
    const Vector s = sigmoid(gate);
    lanes.store(hn::Mul(hn::Mul(d, value), swish_derivative(gate, s)), d_g + i);
    lanes.store(hn::Mul(d, hn::Mul(gate, s)), d_x + i);
  });
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(add_row);
HWY_EXPORT(epilogue_row);
HWY_EXPORT(activation_gradient_row);
HWY_EXPORT(scale_row);
HWY_EXPORT(gate_row);
HWY_EXPORT(gate_gradient_row);
namespace {

// Elements of copying that an element of an activation costs: when to share out the work.
constexpr std::int64_t kActivationCost = 4;

}  // namespace

void run(const ops::Add& op) {
  Rows<3>({op.y, op.a, op.b}, RowAxes::merged).for_all_elements(1, [](const auto& at, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(add_row)(at[1], at[2], at[0], count);
  });
}

void run(const ops::BroadcastAdd& op) {
  run(ops::Add{op.x, op.addend.broadcast(0, op.x.extent(0)), op.y});
}

void run(const ops::ScaleSamples& op) {
  if (op.y.elements() == 0) return;
  const Rows<3> rows({op.y, op.x, op.residual}, RowAxes::innermost);
  const std::int64_t tokens = op.y.extent(1);
  const float* scale = op.scale.data<float>();
  for_ranges(rows.rows(), rows.width(), [&](Range range) {
    rows.for_each(range, [&](std::int64_t row, const auto& at) {
      HWY_DYNAMIC_DISPATCH(scale_row)
      (at[1], at[2], at[0], scale[row / tokens * op.scale.stride(0)], rows.width());
    });
  });
}

void run_epilogue(const View& z, const View& residual, const View& y, ops::ActivationKind kind,
                  ops::Write write) {
  const std::int64_t cost = kind == ops::ActivationKind::none ? 1 : kActivationCost;
  Rows<3>({y, z, residual}, RowAxes::merged).for_all_elements(cost, [&](const auto& at, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(epilogue_row)
    (at[1], at[2], at[0], count, kind, write == ops::Write::accumulate);
  });
}

void run(const ops::Activation& op) {
  run_epilogue(op.x, View(), op.y, op.kind, ops::Write::overwrite);
}

void run(const ops::ActivationGradient& op) {
  const Rows<4> rows({op.d_x, op.x, op.d_y, op.y}, RowAxes::merged);
  rows.for_all_elements(kActivationCost, [&](const auto& at, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(activation_gradient_row)(at[1], at[2], at[0], at[3], count, op.kind);
  });
}

void run(const ops::Gate& op) {
  const Rows<3> rows({op.y, op.g, op.x}, RowAxes::merged);
  rows.for_all_elements(kActivationCost, [&](const auto& at, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(gate_row)(at[1], at[2], at[0], count, op.write == ops::Write::accumulate);
  });
}

void run(const ops::GateGradient& op) {
  const Rows<5> rows({op.d_g, op.d_x, op.g, op.x, op.d_y}, RowAxes::merged);
  rows.for_all_elements(kActivationCost, [](const auto& at, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(gate_gradient_row)(at[2], at[3], at[4], at[0], at[1], count);
  });
}

}  // namespace vretnet::onednn
#endif  // HWY_ONCE
