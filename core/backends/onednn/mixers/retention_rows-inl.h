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

// Rows that are read soon: in the stacked projection they lie a page apart, where no prefetcher of the
// processor follows.
HWY_INLINE void prefetch_rows(std::size_t rows, std::size_t columns, Input x) {
  constexpr std::size_t kLine = 16;
  for (std::size_t r = 0; x && r < rows; ++r)
    for (std::size_t i = 0; i < columns; i += kLine) __builtin_prefetch(x.row(r) + i, 0, 2);
}

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

// Per token row, [tokens of a chunk] each. The head norm of row_scale · x is (x − mean) · factor. Rows go
// through one step at a time, all of them, so that sums across lanes, roots and divisions of different rows
// overlap.
struct RowNumbers {
  float *mean = nullptr, *factor = nullptr;
  float *mean_gradient = nullptr,
        *mean_product = nullptr;  // of the gradient of the norm's output, and of that times the output

  RowNumbers() = default;
  RowNumbers(Scratch& scratch, std::size_t rows)
      : mean(scratch.take(rows)),
        factor(scratch.take(rows)),
        mean_gradient(scratch.take(rows)),
        mean_product(scratch.take(rows)) {}
};

// row_scale may be null: 1.
HWY_INLINE void find_statistics(const RetentionShape& shape, std::size_t rows, const float* row_scale,
                                Input x, const RowNumbers& numbers) {
  const Floats d;
  const std::size_t width = shape.value_width;
  const Vector one = hn::Set(d, 1.0f), over_width = hn::Set(d, 1.0f / static_cast<float>(width));
  std::fill_n(numbers.mean, padded(rows), 0.0f);
  std::fill_n(numbers.factor, padded(rows), 0.0f);
  if (shape.norm == RowNorm::layer) {
    for (std::size_t r = 0; r < rows; ++r) {
      Vector total = hn::Zero(d);
      for_each_vector(width, [&](std::size_t i, std::size_t count)
                                 HWY_ATTR { total = hn::Add(total, load_some(x.row(r) + i, count)); });
      numbers.mean[r] = hn::GetLane(hn::SumOfLanes(d, total)) / static_cast<float>(width);
    }
  }
  if (shape.norm != RowNorm::none) {
    for (std::size_t r = 0; r < rows; ++r) {
      const Vector mean = hn::Set(d, numbers.mean[r]);
      Vector total = hn::Zero(d);
      for_each_vector(width, [&](std::size_t i, std::size_t count) HWY_ATTR {
        Vector difference = hn::Sub(load_some(x.row(r) + i, count), mean);
        if (count < kLanes) difference = hn::IfThenElseZero(hn::FirstN(d, count), difference);
        total = hn::MulAdd(difference, difference, total);
      });
      numbers.factor[r] = hn::GetLane(hn::SumOfLanes(d, total));
    }
  }
  for_each_vector(rows, [&](std::size_t r, std::size_t count) HWY_ATTR {
    const Vector scale = row_scale ? load_some(row_scale + r, count) : one;
    Vector factor = scale;
    if (shape.norm != RowNorm::none) {
      const Vector variance =
          hn::Mul(hn::Mul(hn::Load(d, numbers.factor + r), over_width), hn::Mul(scale, scale));
      factor = hn::Div(scale, hn::Sqrt(hn::Add(variance, hn::Set(d, shape.epsilon))));
    }
    hn::Store(factor, d, numbers.factor + r);
  });
}

// y (+)= swish(g) ⊙ norm(row_scale · x); no g: no gate.
HWY_INLINE void finish_rows(const RetentionShape& shape, std::size_t rows, const float* row_scale, Input x,
                            Input g, Output y, const RowNumbers& numbers) {
  const Floats d;
  find_statistics(shape, rows, row_scale, x, numbers);
  for (std::size_t r = 0; r < rows; ++r) {
    const Vector mean = hn::Set(d, numbers.mean[r]), factor = hn::Set(d, numbers.factor[r]);
    for_each_vector(shape.value_width, [&](std::size_t i, std::size_t count) HWY_ATTR {
      Vector value = hn::Mul(hn::Sub(load_some(x.row(r) + i, count), mean), factor);
      if (g) {
        const Vector gate = load_some(g.row(r) + i, count);
        value = hn::Mul(hn::Mul(gate, sigmoid(gate)), value);
      }
      if (shape.accumulate) value = hn::Add(value, load_some(y.row(r) + i, count));
      store_some(value, y.row(r) + i, count);
    });
  }
}

// From x, g as above and d_y: d_x, the row scale included, and d_g. x becomes the norm's output.
HWY_INLINE void finish_rows_gradient(const RetentionShape& shape, std::size_t rows, const float* row_scale,
                                     Output x, Input g, Input d_y, Output d_g, Output d_x,
                                     const RowNumbers& numbers) {
  const Floats d;
  const Vector one = hn::Set(d, 1.0f);
  const std::size_t width = shape.value_width;
  const float over_width = 1.0f / static_cast<float>(width);
  find_statistics(shape, rows, row_scale, x, numbers);
  for (std::size_t r = 0; r < rows; ++r) {
    const Vector mean = hn::Set(d, numbers.mean[r]), factor = hn::Set(d, numbers.factor[r]);
    Vector sums = hn::Zero(d), products = hn::Zero(d);
    for_each_vector(width, [&](std::size_t i, std::size_t count) HWY_ATTR {
      const Vector normed = hn::Mul(hn::Sub(load_some(x.row(r) + i, count), mean), factor);
      Vector gradient =
          load_some(d_y.row(r) + i, count);  // zeros beyond the row: they add nothing to the sums
      if (g) {
        const Vector gate = load_some(g.row(r) + i, count), sigmoid_of_gate = sigmoid(gate);
        const Vector swish_of_gate = hn::Mul(gate, sigmoid_of_gate);
        const Vector derivative = hn::MulAdd(swish_of_gate, hn::Sub(one, sigmoid_of_gate), sigmoid_of_gate);
        store_some(hn::Mul(hn::Mul(gradient, normed), derivative), d_g.row(r) + i, count);
        gradient = hn::Mul(gradient, swish_of_gate);
      }
      sums = hn::Add(sums, gradient);
      products = hn::MulAdd(gradient, normed, products);
      store_some(normed, x.row(r) + i, count);
      store_some(gradient, d_x.row(r) + i, count);
    });
    numbers.mean_gradient[r] =
        shape.norm == RowNorm::layer ? hn::GetLane(hn::SumOfLanes(d, sums)) * over_width : 0;
    numbers.mean_product[r] =
        shape.norm != RowNorm::none ? hn::GetLane(hn::SumOfLanes(d, products)) * over_width : 0;
  }
  for (std::size_t r = 0; r < rows; ++r) {
    const Vector first = hn::Set(d, numbers.mean_gradient[r]), second = hn::Set(d, numbers.mean_product[r]);
    const Vector factor = hn::Set(d, numbers.factor[r]);
    for_each_vector(width, [&](std::size_t i, std::size_t count) HWY_ATTR {
      const Vector inner = hn::NegMulAdd(load_some(x.row(r) + i, count), second,
                                         hn::Sub(load_some(d_x.row(r) + i, count), first));
      store_some(hn::Mul(factor, inner), d_x.row(r) + i, count);
    });
  }
}

}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // toggle
