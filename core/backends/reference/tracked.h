// A number that knows how large the terms were of which it is the sum: the measure of what rounding can do to
// it. `magnitude` m is such that a value reached through c rounded operations, in any order, is off by at
// most c·ε·m (first order in ε). Inputs are exact numbers of magnitude |x|. A sum's magnitude is the sum of
// magnitudes, a product's the product, a function's |f'|·m + |f|, as in a running error analysis (Higham
// 2002, sections 3.1 and 3.3).
#pragma once

#include <cmath>
#include <type_traits>

namespace vretnet::reference {

struct Tracked {
  double value = 0;
  double magnitude = 0;

  Tracked() = default;
  template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number>>>
  Tracked(Number number)  // NOLINT(google-explicit-constructor): the kernels write T sum = 0
      : value(static_cast<double>(number)), magnitude(std::abs(value)) {}
  Tracked(double the_value, double the_magnitude) : value(the_value), magnitude(the_magnitude) {}

  explicit operator double() const { return value; }

  friend Tracked operator+(const Tracked& a, const Tracked& b) {
    return {a.value + b.value, a.magnitude + b.magnitude};
  }
  friend Tracked operator-(const Tracked& a, const Tracked& b) {
    return {a.value - b.value, a.magnitude + b.magnitude};
  }
  friend Tracked operator*(const Tracked& a, const Tracked& b) {
    return {a.value * b.value, a.magnitude * b.magnitude};
  }
  friend Tracked operator/(const Tracked& a, const Tracked& b) {
    return {a.value / b.value, a.magnitude * b.magnitude / (b.value * b.value)};
  }
  Tracked operator-() const { return {-value, magnitude}; }
  Tracked& operator+=(const Tracked& other) { return *this = *this + other; }
  Tracked& operator-=(const Tracked& other) { return *this = *this - other; }
  Tracked& operator*=(const Tracked& other) { return *this = *this * other; }
  friend bool operator<(const Tracked& a, const Tracked& b) { return a.value < b.value; }
  friend bool operator>(const Tracked& a, const Tracked& b) { return a.value > b.value; }
};

// f(x) with its derivative there.
inline Tracked function_of(const Tracked& x, double value, double derivative) {
  return {value, std::abs(derivative) * x.magnitude + std::abs(value)};
}
inline Tracked exp(const Tracked& x) {
  return function_of(x, std::exp(x.value), std::exp(x.value));
}
inline Tracked log(const Tracked& x) {
  return function_of(x, std::log(x.value), 1 / x.value);
}
inline Tracked erf(const Tracked& x) {
  return function_of(x, std::erf(x.value), M_2_SQRTPI * std::exp(-x.value * x.value));
}
inline Tracked sqrt(const Tracked& x) {
  const double root = std::sqrt(x.value);
  return root > 0 ? function_of(x, root, 0.5 / root) : Tracked(0, std::sqrt(x.magnitude));
}

}  // namespace vretnet::reference
