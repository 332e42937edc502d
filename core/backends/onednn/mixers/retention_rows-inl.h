// What happens to single token rows of a retention: rotation on the way in, head norm and gate on the way
// out, and the gradients of both.
#if defined(VRETNET_MIXERS_RETENTION_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VRETNET_MIXERS_RETENTION_ROWS_INL_H_
#undef VRETNET_MIXERS_RETENTION_ROWS_INL_H_
#else
#define VRETNET_MIXERS_RETENTION_ROWS_INL_H_
#endif

#include "core/backends/onednn/mixers/retention_head.h"
#include "core/backends/onednn/mixers/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {

// `pairs` pairs turn by vectors of kWidth and the rest by narrower ones. direction −1 turns back.
template <std::size_t kWidth>
HWY_INLINE void rotate_row(std::size_t pairs, const float* cosine, const float* sine, float direction,
                           float scale, const float* x, float* y) {
  if constexpr (kWidth >= 4 && HWY_TARGET != HWY_SCALAR) {
    const hn::CappedTag<float, kWidth> d;
    const auto by = hn::Set(d, scale), signed_by = hn::Set(d, direction * scale);
    std::size_t j = 0;
    for (; j + kWidth <= pairs; j += kWidth) {
      hn::Vec<decltype(d)> a, b;
      hn::LoadInterleaved2(d, x + 2 * j, a, b);
      const auto c = hn::Mul(by, hn::LoadU(d, cosine + j)), s = hn::Mul(signed_by, hn::LoadU(d, sine + j));
      hn::StoreInterleaved2(hn::NegMulAdd(b, s, hn::Mul(a, c)), hn::MulAdd(b, c, hn::Mul(a, s)), d,
                            y + 2 * j);
    }
    if (j < pairs)
      rotate_row<kWidth / 2>(pairs - j, cosine + j, sine + j, direction, scale, x + 2 * j, y + 2 * j);
  } else {
    for (std::size_t j = 0; j < pairs; ++j) {
      const float a = x[2 * j], b = x[2 * j + 1], c = scale * cosine[j], s = direction * scale * sine[j];
      y[2 * j] = a * c - b * s;
      y[2 * j + 1] = a * s + b * c;
    }
  }
}

// y = scale · rotate(x) for the tokens first … first + count − 1, or turned back; y may be x.
enum class Turn { forth, back };
HWY_INLINE void rotate_rows(const RetentionHead& head, Turn turn, std::size_t first, std::size_t count,
                            float scale, Input x, Output y) {
  const std::size_t width = head.shape.key_width;
  for (std::size_t r = 0; r < count; ++r) {
    if (head.cosine) {
      rotate_row<kLanes>(width / 2, head.cosine.row(first + r), head.sine.row(first + r),
                         turn == Turn::back ? -1 : 1, scale, x.row(r), y.row(r));
    } else {
      scale_row(width, scale, x.row(r), y.row(r));
    }
  }
}

// 1 / (1 + e^−x), within 3 units in the last place; a division would cost as much as all the rest.
HWY_INLINE Vector logistic(Vector x) {
  const Floats d;
  const Vector one = hn::Set(d, 1.0f);
  const Vector exponent = hn::Min(hn::Set(d, 126.0f), hn::Mul(x, hn::Set(d, -1.44269504f)));
  const Vector denominator = hn::Add(one, power_of_two(exponent));
#if HWY_TARGET == HWY_AVX3
  const Vector estimate = hn::ApproximateReciprocal(denominator);  // 14 bits; one step of Newton makes it 24
  return hn::MulAdd(estimate, hn::NegMulAdd(denominator, estimate, one), estimate);
#else
  return hn::Div(one, denominator);
#endif
}

// The head norm of row_scale · x is (x − mean) · factor.
struct RowStatistics {
  float mean = 0, factor = 1;
};
HWY_INLINE RowStatistics statistics_of(const RetentionShape& shape, float row_scale, const float* x) {
  if (shape.norm == RowNorm::none) return {0, row_scale};
  const std::int64_t width = static_cast<std::int64_t>(shape.value_width);
  const float n = static_cast<float>(shape.value_width);
  const float mean = shape.norm == RowNorm::layer ? sum(x, width) / n : 0;
  const Vector center = hn::Set(Floats(), mean);
  const float squares = sum_vectors(width, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const Vector difference = hn::Sub(lanes.load(x + i), center);
    return hn::Mul(difference, difference);
  });
  return {mean, row_scale / std::sqrt(squares / n * row_scale * row_scale + shape.epsilon)};
}

// y (+)= swish(g) ⊙ norm(row_scale · x).
HWY_INLINE void finish_row(const RetentionShape& shape, float row_scale, const float* x, const float* g,
                           float* y) {
  const Floats d;
  const RowStatistics statistics = statistics_of(shape, row_scale, x);
  const Vector mean = hn::Set(d, statistics.mean), factor = hn::Set(d, statistics.factor);
  for_each_vector(shape.value_width, [&](std::size_t i, std::size_t count) HWY_ATTR {
    Vector value = hn::Mul(hn::Sub(load_some(x + i, count), mean), factor);
    if (g) {
      const Vector gate = load_some(g + i, count);
      value = hn::Mul(hn::Mul(gate, logistic(gate)), value);
    }
    if (shape.accumulate) value = hn::Add(value, load_some(y + i, count));
    store_some(value, y + i, count);
  });
}

// From x as above and d_y: d_x, the row scale included, and, where there is a gate, d_g.
HWY_INLINE void finish_row_gradient(const RetentionShape& shape, float row_scale, const float* x,
                                    const float* g, const float* d_y, float* d_g, float* d_x) {
  const Floats d;
  const std::size_t width = shape.value_width;
  const RowStatistics statistics = statistics_of(shape, row_scale, x);
  const Vector mean = hn::Set(d, statistics.mean), factor = hn::Set(d, statistics.factor),
               one = hn::Set(d, 1.0f);
  Vector sums = hn::Zero(d), products = hn::Zero(d);
  for_each_vector(width, [&](std::size_t i, std::size_t count) HWY_ATTR {
    const Vector normed = hn::Mul(hn::Sub(load_some(x + i, count), mean), factor);
    Vector gradient = load_some(d_y + i, count);  // zeros beyond the row: they add nothing to the sums
    if (g) {
      const Vector gate = load_some(g + i, count), sigmoid_of_gate = logistic(gate);
      const Vector swish_of_gate = hn::Mul(gate, sigmoid_of_gate);
      const Vector derivative = hn::MulAdd(swish_of_gate, hn::Sub(one, sigmoid_of_gate), sigmoid_of_gate);
      store_some(hn::Mul(hn::Mul(gradient, normed), derivative), d_g + i, count);
      gradient = hn::Mul(gradient, swish_of_gate);
    }
    sums = hn::Add(sums, gradient);
    products = hn::MulAdd(gradient, normed, products);
    store_some(gradient, d_x + i, count);
  });
  const float n = static_cast<float>(width);
  float mean_gradient = 0, mean_product = 0;
  if (shape.norm != RowNorm::none) mean_product = hn::GetLane(hn::SumOfLanes(d, products)) / n;
  if (shape.norm == RowNorm::layer) mean_gradient = hn::GetLane(hn::SumOfLanes(d, sums)) / n;
  const Vector first = hn::Set(d, mean_gradient), second = hn::Set(d, mean_product);
  for_each_vector(width, [&](std::size_t i, std::size_t count) HWY_ATTR {
    const Vector normed = hn::Mul(hn::Sub(load_some(x + i, count), mean), factor);
    const Vector inner = hn::NegMulAdd(normed, second, hn::Sub(load_some(d_x + i, count), first));
    store_some(hn::Mul(factor, inner), d_x + i, count);
  });
}

}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // toggle
