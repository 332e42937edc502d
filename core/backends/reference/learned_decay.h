// DecayPowers and HeadDot: the tables of decays that are learned, and the sum that their gradient ends in.
#pragma once

#include <cmath>
#include <limits>

#include "core/backends/reference/elements.h"

namespace vretnet::reference {

template <class T>
void run(const ops::DecayPowers& op) {
  using std::exp;
  const Elements<T> exponents(op.exponents), log_rate(op.log_rate), y(op.y);
  const T smallest(std::numeric_limits<float>::min()), largest(std::numeric_limits<float>::max());
  for (Index h = 0; h < y.extent(0); ++h) {
    T rate = exp(log_rate(h, 0));
    if (rate < smallest) rate = smallest;
    if (rate > largest) rate = largest;
    for (Index i = 0; i < y.extent(1); ++i) {
      T x = rate * exponents(i);
      if (x > largest) x = largest;
      y(h, i) = op.derivative ? -x * exp(-x) : exp(-x);
    }
  }
}

// A sum for each token and each image: one over all of them would lose digits.
template <class T>
void run(const ops::HeadDot& op) {
  const Elements<T> a(op.a), b(op.b), y(op.y);
  for (Index h = 0; h < a.extent(2); ++h) {
    T sum = 0;
    for (Index n = 0; n < a.extent(0); ++n) {
      T of_image = 0;
      for (Index t = 0; t < a.extent(1); ++t) {
        T of_token = 0;
        for (Index c = 0; c < a.extent(3); ++c) of_token += a(n, t, h, c) * b(n, t, h, c);
        of_image += of_token;
      }
      sum += of_image;
    }
    y(h, 0) += sum;
  }
}

}  // namespace vretnet::reference
