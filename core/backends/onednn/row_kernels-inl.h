// What the vector kernels share: walking a row by vectors, sums, and the functions of activations.
// Included once for every instruction set, from sources compiled with hwy/foreach_target.h.
#if defined(VRETNET_ROW_KERNELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VRETNET_ROW_KERNELS_INL_H_
#undef VRETNET_ROW_KERNELS_INL_H_
#else
#define VRETNET_ROW_KERNELS_INL_H_
#endif

#include <hwy/highway.h>
// After highway.h:
#include <hwy/contrib/math/math-inl.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "core/ops/ops.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;

// All lanes of a vector, or the first `count`: the same kernel body serves a row's middle and its end.
struct WholeVector {
  HWY_INLINE Vector load(const float* from) const { return hn::LoadU(Floats(), from); }
  HWY_INLINE void store(Vector v, float* to) const { hn::StoreU(v, Floats(), to); }
  HWY_INLINE Vector keep(Vector v) const { return v; }             // unused lanes become 0
  HWY_INLINE Vector keep_or(Vector v, Vector) const { return v; }  // unused lanes become `other`'s
};
// The first `count` elements at p, zeros after them, count less than a vector. Never touches what lies
// beyond, which only the masked instructions of these two targets promise.
HWY_INLINE Vector load_first(const float* p, std::size_t count) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  return hn::MaskedLoad(hn::FirstN(Floats(), count), Floats(), p);
#else
  HWY_ALIGN float buffer[hn::MaxLanes(Floats())] = {};
  for (std::size_t i = 0; i < count; ++i) buffer[i] = p[i];
  return hn::Load(Floats(), buffer);
#endif
}
HWY_INLINE void store_first(Vector values, float* p, std::size_t count) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  hn::BlendedStore(values, hn::FirstN(Floats(), count), Floats(), p);
#else
  HWY_ALIGN float buffer[hn::MaxLanes(Floats())];
  hn::Store(values, Floats(), buffer);
  for (std::size_t i = 0; i < count; ++i) p[i] = buffer[i];
#endif
}

struct PartOfVector {
  std::size_t count;
  HWY_INLINE explicit PartOfVector(std::int64_t elements) : count(static_cast<std::size_t>(elements)) {}
  HWY_INLINE Vector load(const float* from) const { return load_first(from, count); }
  HWY_INLINE void store(Vector v, float* to) const { store_first(v, to, count); }
  HWY_INLINE Vector keep(Vector v) const { return hn::IfThenElseZero(hn::FirstN(Floats(), count), v); }
  HWY_INLINE Vector keep_or(Vector v, Vector other) const {
    return hn::IfThenElse(hn::FirstN(Floats(), count), v, other);
  }
};

// body(lanes, i) for the vectors that start at elements i of a row of n.
template <class Body>
HWY_INLINE void for_vectors(std::int64_t n, Body&& body) {
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(Floats()));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) body(WholeVector(), i);
  if (i < n) body(PartOfVector(n - i), i);
}

// Σ_i body(lanes, i): four running sums, so that the additions need not wait for each other.
template <class Body>
HWY_INLINE float sum_vectors(std::int64_t n, Body&& body) {
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(Floats()));
  const Floats d;
  Vector s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = hn::Add(s0, body(WholeVector(), i));
    s1 = hn::Add(s1, body(WholeVector(), i + lanes));
    s2 = hn::Add(s2, body(WholeVector(), i + 2 * lanes));
    s3 = hn::Add(s3, body(WholeVector(), i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) s0 = hn::Add(s0, body(WholeVector(), i));
  if (i < n) {
    const PartOfVector part(n - i);
    s1 = hn::Add(s1, part.keep(body(part, i)));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

HWY_INLINE float sum(const float* x, std::int64_t n) {
  return sum_vectors(n, [&](auto lanes, std::int64_t i) HWY_ATTR { return lanes.load(x + i); });
}
HWY_INLINE float largest(const float* x, std::int64_t n) {
  const Floats d;
  const Vector lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  Vector most = lowest;
  for_vectors(n, [&](auto lanes, std::int64_t i)
                     HWY_ATTR { most = hn::Max(most, lanes.keep_or(lanes.load(x + i), lowest)); });
  return hn::GetLane(hn::MaxOfLanes(d, most));
}
HWY_INLINE float dot(const float* a, const float* b, std::int64_t n) {
  return sum_vectors(
      n, [&](auto lanes, std::int64_t i) HWY_ATTR { return hn::Mul(lanes.load(a + i), lanes.load(b + i)); });
}

// Mean and 1/√(variance + ε) of a row; not centred: 0 and 1/√(mean(x²) + ε).
struct Statistics {
  float mean, inverse_deviation;
};
HWY_INLINE Statistics statistics(const float* x, std::int64_t n, float epsilon, bool centred) {
  const float mean = centred ? sum(x, n) / static_cast<float>(n) : 0.0f;
  const Vector centre = hn::Set(Floats(), mean);
  const float squares = sum_vectors(n, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const Vector distance = hn::Sub(lanes.load(x + i), centre);
    return hn::Mul(distance, distance);
  });
  return {mean, 1.0f / std::sqrt(squares / static_cast<float>(n) + epsilon)};
}

// 1/x for x in [1, 2^126], within 2 units in the last place: a quarter of a division's time where the
// processor has a first guess of 14 bits, which one step of Newton's doubles.
HWY_INLINE Vector reciprocal(Vector x) {
  const Floats d;
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  const Vector guess = hn::ApproximateReciprocal(x);
  return hn::MulAdd(guess, hn::NegMulAdd(x, guess, hn::Set(d, 1.0f)), guess);
#else
  return hn::Div(hn::Set(d, 1.0f), x);
#endif
}

// c0 + c1·t + … + c5·t⁵, by pairs of terms that do not wait for each other.
HWY_INLINE Vector polynomial(Vector t, float c0, float c1, float c2, float c3, float c4, float c5) {
  const Floats d;
  const Vector t2 = hn::Mul(t, t);
  const Vector p01 = hn::MulAdd(t, hn::Set(d, c1), hn::Set(d, c0));
  const Vector p23 = hn::MulAdd(t, hn::Set(d, c3), hn::Set(d, c2));
  const Vector p45 = hn::MulAdd(t, hn::Set(d, c5), hn::Set(d, c4));
  return hn::MulAdd(hn::Mul(t2, t2), p45, hn::MulAdd(t2, p23, p01));
}

// Adding it to |x| < 2^22 rounds x to an integer, which the low bits keep: 1.5 · 2^23.
constexpr float kRounder = 12582912.0f;

// 2^(n + rest), n = rounded − kRounder an integer in [−126, 127], |rest| ≤ ½: a minimax polynomial of degree
// 6 (relative error 2e-9 before rounding), its exponent added as an integer.
HWY_INLINE Vector power_of_two(Vector rounded, Vector rest) {
  const Floats d;
  const hn::RebindToSigned<Floats> integers;
  const Vector p = polynomial(rest, 0x1.62e430p-1f, 0x1.ebfbdap-3f, 0x1.c6aed4p-5f, 0x1.3b2dbcp-7f,
                              0x1.5f456ap-10f, 0x1.41d32ep-13f);
  const Vector power = hn::MulAdd(rest, p, hn::Set(d, 1.0f));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(integers, rounded));
  return hn::BitCast(d, hn::Add(hn::BitCast(integers, power), exponent));
}

// 2^x for x ≤ 127, 2^−126 below −126. A NaN stays one: Max returns its second argument then.
HWY_INLINE Vector power_of_two(Vector x) {
  const Floats d;
  const Vector rounder = hn::Set(d, kRounder);
  x = hn::Max(hn::Set(d, -126.0f), x);
  const Vector rounded = hn::Add(x, rounder);
  return power_of_two(rounded, hn::Sub(x, hn::Sub(rounded, rounder)));
}

// e^x for |x| ≤ 87, within a few units in the last place: x loses n·ln 2 in two pieces, n times the first of
// which is exact.
HWY_INLINE Vector exponential(Vector x) {
  const Floats d;
  const Vector rounder = hn::Set(d, kRounder), log2e = hn::Set(d, 1.44269504088896341f);
  const Vector rounded = hn::MulAdd(x, log2e, rounder), n = hn::Sub(rounded, rounder);
  const Vector rest =
      hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x));
  return power_of_two(rounded, hn::Mul(rest, log2e));
}

// Φ(x) = (1 + erf(x/√2)) / 2, the normal distribution. erf(x/√2) = x·P(x²)/Q(x²), a minimax fit of its
// relative error (2e-8) over |x| ≤ 5.6; beyond, ±1 exactly. Rounding included, Φ is within 3·2^-24 of its
// value.
HWY_INLINE Vector normal_cumulative(Vector x) {
  const Floats d;
  const Vector one = hn::Set(d, 1.0f), half = hn::Set(d, 0.5f), end = hn::Set(d, 5.6f);
  const Vector z = hn::Max(hn::Neg(end), hn::Min(x, end)), t = hn::Mul(z, z);
  const Vector p = polynomial(t, 0.797884544f, 0.0678568462f, 0.00935462364f, 0.000337846215f,
                              1.25794729e-05f, 4.45957173e-08f);
  const Vector q =
      polynomial(t, 1.0f, 0.251712272f, 0.0286772063f, 0.00188545646f, 7.33422549e-05f, 1.17966723e-06f);
  const Vector erf = hn::Mul(hn::Mul(z, p), reciprocal(q));
  return hn::MulAdd(hn::Max(hn::Neg(one), hn::Min(erf, one)), half, half);
}

// φ(x) = e^(−x²/2) / √(2π), its density.
HWY_INLINE Vector normal_density(Vector x) {
  const Floats d;
  const Vector exponent = hn::Mul(hn::Mul(x, x), hn::Set(d, -0.72134752044448170f));  // −x²/2 · log2(e)
  return hn::Mul(power_of_two(exponent), hn::Set(d, 0.3989422804014327f));
}

// gelu(x) = x·Φ(x).
HWY_INLINE Vector gelu(Vector x) {
  return hn::Mul(x, normal_cumulative(x));
}
// 1 / (1 + e^−x), never through an overflow or a subnormal number: beyond ±87 it stays as it is there. A NaN
// stays one: Max and Min return their second argument then.
HWY_INLINE Vector sigmoid(Vector x) {
  const Floats d;
  const Vector end = hn::Set(d, 87.0f);
  const Vector e = exponential(hn::Min(end, hn::Max(hn::Neg(end), hn::Neg(x))));
  return reciprocal(hn::Add(hn::Set(d, 1.0f), e));
}
// swish(x) = x·sigmoid(x), which is SiLU.
HWY_INLINE Vector swish(Vector x) {
  return hn::Mul(x, sigmoid(x));
}
template <ops::ActivationKind kKind>
HWY_INLINE Vector activate(Vector x) {
  if constexpr (kKind == ops::ActivationKind::gelu) return gelu(x);
  if constexpr (kKind == ops::ActivationKind::silu) return swish(x);
  return x;
}
// swish'(x) = s·(1 + x·(1 − s)), s = sigmoid(x).
HWY_INLINE Vector swish_derivative(Vector x, Vector s) {
  const Vector one = hn::Set(Floats(), 1.0f);
  return hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one));
}

}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // toggle
