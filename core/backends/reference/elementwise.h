// Convert, Patches, Add, BroadcastAdd, ScaleSamples, Activation, Gate and their gradients: one output element
// from a few inputs.
#pragma once

#include "core/backends/reference/activation.h"
#include "core/backends/reference/elements.h"

namespace vretnet::reference {

template <class From, class To>
void convert(const ops::Convert& op) {
  const Elements<From> x(op.x);
  const Elements<To> y(op.y);
  for_each_index(y.shape(), [&](const Indices& index) { put(y[index], To(x[index]), op.write); });
}

template <class T>
void run(const ops::Patches& op) {
  const Elements<T> x(op.x), y(op.y);
  const Index patch = op.patch, columns = x.extent(2) / patch;
  for_each_index(x.shape(), [&](const Indices& index) {
    const auto [b, row, column, c, unused] = index;
    const Index token = row / patch * columns + column / patch;
    y(b, token, (c * patch + row % patch) * patch + column % patch) = x[index];
  });
}

template <class T>
void run(const ops::Add& op) {
  const Elements<T> a(op.a), b(op.b), y(op.y);
  for_each_index(y.shape(), [&](const Indices& index) { y[index] = a[index] + b[index]; });
}

template <class T>
void run(const ops::BroadcastAdd& op) {
  const Elements<T> x(op.x), addend(op.addend), y(op.y);
  for_each_index(y.shape(), [&](const Indices& index) { y[index] = x[index] + addend(index[1], index[2]); });
}

template <class T>
void run(const ops::ScaleSamples& op) {
  const Elements<T> x(op.x), scale(op.scale), residual(op.residual), y(op.y);
  for_each_index(y.shape(), [&](const Indices& index) {
    const T scaled = scale(index[0]) * x[index];
    y[index] = residual ? scaled + residual[index] : scaled;
  });
}

template <class T>
void run(const ops::Activation& op) {
  const Elements<T> x(op.x), y(op.y);
  for_each_index(y.shape(), [&](const Indices& index) { y[index] = activation(op.kind, x[index]); });
}

template <class T>
void run(const ops::ActivationGradient& op) {
  const Elements<T> x(op.x), d_y(op.d_y), d_x(op.d_x), y(op.y);
  for_each_index(d_x.shape(), [&](const Indices& index) {
    const T value = x[index];
    d_x[index] = d_y[index] * activation_derivative(op.kind, value);
    if (op.y) y[index] = activation(op.kind, value);
  });
}

template <class T>
void run(const ops::Gate& op) {
  const Elements<T> g(op.g), x(op.x), y(op.y);
  for_each_index(y.shape(), [&](const Indices& index) {
    put(y[index], activation(ops::ActivationKind::silu, g[index]) * x[index], op.write);
  });
}

template <class T>
void run(const ops::GateGradient& op) {
  const Elements<T> g(op.g), x(op.x), d_y(op.d_y), d_g(op.d_g), d_x(op.d_x);
  for_each_index(d_x.shape(), [&](const Indices& index) {
    const T d_gate = d_y[index] * x[index];
    d_x[index] = d_y[index] * activation(ops::ActivationKind::silu, g[index]);
    d_g[index] = d_gate * activation_derivative(ops::ActivationKind::silu, g[index]);
  });
}

}  // namespace vretnet::reference
