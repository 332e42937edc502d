// A number that knows what rounding can have done to it: a running error analysis (Higham 2002, section 3.3)
// in double. `error` counts roundings: a value computed in f32, in the order of these operations, is off by
// at most u·error with u = 2^−24, to first order. A sum of K terms t in another order is off by no more than
// (K − 1)·u·Σ|t|, so every addition costs the terms that the sum holds, Σ|t|, not only its result; a dot
// product of length K so has an error of about (K + 2)/2 · Σ|a b|, whatever its own order hid.
#pragma once

#include <cmath>
#include <type_traits>

namespace vretnet::reference {

constexpr double kUnitRoundoff = 0x1p-24;              // of f32
constexpr double kRoundingsOfBf16 = 0x1p-8 / 0x1p-24;  // what one rounding to bf16 costs in units of f32
constexpr double kFunctionRoundings = 4;               // exp, log, erf: within 2 units in the last place

struct Tracked {
  double value = 0;
  double terms = 0;  // Σ|t| of the sum that this is, |value| where it is none
  double error = 0;

  Tracked() = default;
  // A constant of the formula. One that f32 cannot hold is rounded there.
  template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number>>>
  Tracked(Number number)  // NOLINT(google-explicit-constructor): the kernels write T sum = 0
      : value(static_cast<double>(number)), terms(std::abs(value)) {
    if (static_cast<double>(static_cast<float>(value)) != value) error = terms;
  }
  Tracked(double the_value, double the_terms, double the_error)
      : value(the_value), terms(the_terms), error(the_error) {}

  friend Tracked operator+(const Tracked& a, const Tracked& b) { return sum(a, b, a.value + b.value); }
  friend Tracked operator-(const Tracked& a, const Tracked& b) { return sum(a, b, a.value - b.value); }
  friend Tracked operator*(const Tracked& a, const Tracked& b) {
    const double product = a.value * b.value;
    return rounded(product, std::abs(a.value) * b.error + std::abs(b.value) * a.error, 1);
  }
  friend Tracked operator/(const Tracked& a, const Tracked& b) {
    const double quotient = a.value / b.value;
    return rounded(quotient, (a.error + std::abs(quotient) * b.error) / std::abs(b.value), 1);
  }
  Tracked operator-() const { return {-value, terms, error}; }
  Tracked& operator+=(const Tracked& other) { return *this = *this + other; }
  Tracked& operator-=(const Tracked& other) { return *this = *this - other; }
  Tracked& operator*=(const Tracked& other) { return *this = *this * other; }
  friend bool operator<(const Tracked& a, const Tracked& b) { return a.value < b.value; }
  friend bool operator>(const Tracked& a, const Tracked& b) { return a.value > b.value; }

  // A value with the error that came in, and `roundings` of its own.
  static Tracked rounded(double value, double incoming, double roundings) {
    return {value, std::abs(value), incoming + roundings * std::abs(value)};
  }

 private:
  static Tracked sum(const Tracked& a, const Tracked& b, double value) {
    const double terms = a.terms + b.terms;
    return {value, terms, a.error + b.error + terms};
  }
};

inline Tracked exp(const Tracked& x) {
  const double value = std::exp(x.value);
  return Tracked::rounded(value, value * x.error, kFunctionRoundings);
}
inline Tracked log(const Tracked& x) {
  return Tracked::rounded(std::log(x.value), x.error / x.value, kFunctionRoundings);
}
inline Tracked erf(const Tracked& x) {
  return Tracked::rounded(std::erf(x.value), M_2_SQRTPI * std::exp(-x.value * x.value) * x.error,
                          kFunctionRoundings);
}
inline Tracked sqrt(const Tracked& x) {
  const double root = std::sqrt(x.value);
  // √(u·e) is what an error e makes of a zero.
  return root > 0 ? Tracked::rounded(root, x.error / (2 * root), 1)
                  : Tracked(0, 0, std::sqrt(x.error / kUnitRoundoff));
}

}  // namespace vretnet::reference
