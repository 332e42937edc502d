// Softmax attention, and its gradient from the saved log-sum-exp.
#pragma once

#include <cmath>

#include "core/backends/reference/elements.h"

namespace vretnet::reference {

template <class T>
T dot(const Elements<T>& a, const Elements<T>& b, Index batch, Index h, Index t, Index s) {
  T sum = 0;
  for (Index c = 0; c < a.extent(3); ++c) sum += a(batch, t, h, c) * b(batch, s, h, c);
  return sum;
}

template <class T, class Visit>
void for_each_query(const Elements<T>& q, Visit&& visit) {
  for (Index b = 0; b < q.extent(0); ++b) {
    for (Index h = 0; h < q.extent(2); ++h) {
      for (Index t = 0; t < q.extent(1); ++t) visit(b, h, t);
    }
  }
}

template <class T>
void run(const ops::Attention& op) {
  using std::exp;
  using std::log;
  const Elements<T> q(op.q), k(op.k), v(op.v), o(op.o), log_sum_exp(op.log_sum_exp);
  const Index tokens = k.extent(1), width = v.extent(3);
  for_each_query(q, [&](Index b, Index h, Index t) {
    const auto score = [&](Index s) { return dot(q, k, b, h, t, s) * T(op.scale); };
    T largest = score(0), sum = 0;
    for (Index s = 1; s < tokens; ++s) {
      const T next = score(s);
      if (next > largest) largest = next;
    }
    for (Index c = 0; c < width; ++c) o(b, t, h, c) = T(0);
    for (Index s = 0; s < tokens; ++s) {
      const T weight = exp(score(s) - largest);
      sum += weight;
      for (Index c = 0; c < width; ++c) o(b, t, h, c) += weight * v(b, s, h, c);
    }
    for (Index c = 0; c < width; ++c) o(b, t, h, c) = o(b, t, h, c) / sum;
    if (log_sum_exp) log_sum_exp(b, h, t) = largest + log(sum);
  });
}

template <class T>
void run(const ops::AttentionGradient& op) {
  using std::exp;
  const Elements<T> q(op.q), k(op.k), v(op.v), o(op.o), log_sum_exp(op.log_sum_exp), d_o(op.d_o), d_q(op.d_q),
      d_k(op.d_k), d_v(op.d_v);
  for (const Elements<T>& gradient : {d_q, d_k, d_v}) {
    for_each_index(gradient.shape(), [&](const Indices& index) { gradient[index] = T(0); });
  }
  const T scale(op.scale);
  for_each_query(q, [&](Index b, Index h, Index t) {
    const T correction = dot(d_o, o, b, h, t, t);
    for (Index s = 0; s < k.extent(1); ++s) {
      const T weight = exp(dot(q, k, b, h, t, s) * scale - log_sum_exp(b, h, t));
      const T d_score = weight * (dot(d_o, v, b, h, t, s) - correction) * scale;
      for (Index c = 0; c < q.extent(3); ++c) {
        d_q(b, t, h, c) += d_score * k(b, s, h, c);
        d_k(b, s, h, c) += d_score * q(b, t, h, c);
      }
      for (Index c = 0; c < v.extent(3); ++c) d_v(b, s, h, c) += weight * d_o(b, t, h, c);
    }
  });
}

}  // namespace vretnet::reference
