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
struct PartOfVector {
  hn::Mask<Floats> mask;
  HWY_INLINE explicit PartOfVector(std::int64_t count)
      : mask(hn::FirstN(Floats(), static_cast<std::size_t>(count))) {}
  HWY_INLINE Vector load(const float* from) const { return hn::MaskedLoad(mask, Floats(), from); }
  HWY_INLINE void store(Vector v, float* to) const { hn::BlendedStore(v, mask, Floats(), to); }
  HWY_INLINE Vector keep(Vector v) const { return hn::IfThenElseZero(mask, v); }
  HWY_INLINE Vector keep_or(Vector v, Vector other) const { return hn::IfThenElse(mask, v, other); }
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

// Φ(x), the normal distribution, and its density φ(x).
struct Normal {
  Vector cumulative, density;
};

// Φ(−a) = e^(−a²/2) · P(q) / (a + 4), q = (a − 4) / (a + 4), for a = |x|; Φ(x) = 1 − Φ(−x). P is a minimax
// fit of degree 9 in relative error (8e-9) over 0 ≤ a ≤ 14. Rounding included (with fused multiply-add), Φ is
// within 5e-7 of its value, relative, for x ≥ −12.5; below, it stays at Φ(−12.5) = 4e-36, so that no number
// here is subnormal.
HWY_INLINE Normal normal(Vector x) {
  const Floats d;
  const Vector one = hn::Set(d, 1.0f), four = hn::Set(d, 4.0f), minus_half = hn::Set(d, -0.5f);
  const Vector a = hn::Min(hn::Abs(x), hn::Set(d, 12.5f));
  const Vector reciprocal = hn::Div(one, hn::Add(a, four));
  const Vector q = hn::Mul(hn::Sub(a, four), reciprocal);
  Vector p = hn::Set(d, -0.00013003604657542387f);
  p = hn::MulAdd(p, q, hn::Set(d, 0.0001835237508290737f));
  p = hn::MulAdd(p, q, hn::Set(d, 0.0015714336867347527f));
  p = hn::MulAdd(p, q, hn::Set(d, -0.0035144905924468545f));
  p = hn::MulAdd(p, q, hn::Set(d, -0.007526419671453357f));
  p = hn::MulAdd(p, q, hn::Set(d, 0.060404083795241814f));
  p = hn::MulAdd(p, q, hn::Set(d, -0.18652325499467834f));
  p = hn::MulAdd(p, q, hn::Set(d, 0.38713689172157145f));
  p = hn::MulAdd(p, q, hn::Set(d, -0.607896595335924f));
  p = hn::MulAdd(p, q, hn::Set(d, 0.7552851354486302f));
  // a² rounds by up to 2^-24 · a², which e^(−a²/2) would turn into 80 roundings: what was rounded away comes
  // back.
  const Vector square = hn::Mul(a, a), lost = hn::MulSub(a, a, square);
  const Vector exponential =
      hn::Mul(hn::Exp(d, hn::Mul(square, minus_half)), hn::MulAdd(lost, minus_half, one));
  const Vector tail = hn::Mul(hn::Mul(exponential, reciprocal), p);
  const Vector cumulative = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(one, tail));
  return {cumulative, hn::Mul(exponential, hn::Set(d, 0.3989422804014327f))};
}

// gelu(x) = x·Φ(x): relative error as normal's and one rounding more.
HWY_INLINE Vector gelu(Vector x) {
  return hn::Mul(x, normal(x).cumulative);
}
// gelu'(x) = Φ(x) + x·φ(x).
HWY_INLINE Vector gelu_derivative(Vector x) {
  const Normal n = normal(x);
  return hn::MulAdd(x, n.density, n.cumulative);
}

// 1 / (1 + e^−x), never through an overflow or a subnormal number; below x = −80 it stays at 2e-35.
HWY_INLINE Vector sigmoid(Vector x) {
  const Floats d;
  const Vector one = hn::Set(d, 1.0f);
  const Vector e = hn::Exp(d, hn::Neg(hn::Min(hn::Abs(x), hn::Set(d, 80.0f))));
  return hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one), hn::Add(one, e));
}
// swish(x) = x·sigmoid(x), which is SiLU.
HWY_INLINE Vector swish(Vector x) {
  return hn::Mul(x, sigmoid(x));
}
// swish'(x) = s·(1 + x·(1 − s)), s = sigmoid(x).
HWY_INLINE Vector swish_derivative(Vector x, Vector s) {
  const Vector one = hn::Set(Floats(), 1.0f);
  return hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one));
}

}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // toggle
