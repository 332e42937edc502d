// What the mixers add to the shared row kernels: vectors as compile-time tiles and a transposition.
#if defined(VRETNET_MIXERS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VRETNET_MIXERS_SIMD_INL_H_
#undef VRETNET_MIXERS_SIMD_INL_H_
#else
#define VRETNET_MIXERS_SIMD_INL_H_
#endif

#include "core/backends/onednn/mixers/matrix.h"
#include "core/backends/onednn/row_kernels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {

constexpr std::size_t kLanes = hn::MaxLanes(Floats());
static_assert(kPadding % kLanes == 0);

// visit(i, elements of the vector at i): all elements of a row, the last vector perhaps a part.
template <class Visit>
HWY_INLINE void for_each_vector(std::size_t count, const Visit& visit) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) visit(i, kLanes);
  if (i < count) visit(i, count - i);
}

HWY_INLINE Vector load_some(const float* p, std::size_t count) {
  return count == kLanes ? hn::LoadU(Floats(), p) : load_first(p, count);
}
HWY_INLINE void store_some(Vector values, float* p, std::size_t count) {
  if (count == kLanes) {
    hn::StoreU(values, Floats(), p);
  } else {
    store_first(values, p, count);
  }
}

// y = factor · x, rows of `columns`; y may be x.
HWY_INLINE void scale_row(std::size_t columns, float factor, const float* x, float* y) {
  const Vector by = hn::Set(Floats(), factor);
  for_each_vector(columns, [&](std::size_t i, std::size_t count)
                               HWY_ATTR { store_some(hn::Mul(load_some(x + i, count), by), y + i, count); });
}

// y = factors ⊙ x, row by row, factor 1 where `factors` is null; y may be x.
HWY_INLINE void scale_rows(std::size_t rows, std::size_t columns, const float* factors, Input x, Output y) {
  for (std::size_t r = 0; r < rows; ++r) scale_row(columns, factors ? factors[r] : 1, x.row(r), y.row(r));
}

#if HWY_TARGET != HWY_SCALAR
// The 128-bit parts of a vector go to rows `distance` apart, the first to `y`.
template <class D>
HWY_INLINE void store_parts(D d, hn::Vec<D> values, float* y, std::ptrdiff_t distance) {
  if constexpr (hn::MaxLanes(D()) <= 4) {
    hn::StoreU(values, d, y);
  } else {
    const hn::Half<D> half;
    constexpr std::ptrdiff_t parts = hn::MaxLanes(D()) / 8;
    store_parts(half, hn::LowerHalf(half, values), y, distance);
    store_parts(half, hn::UpperHalf(half, values), y + parts * distance, distance);
  }
}

#endif

// Four rows of x, of which the first `rows` exist and the others are zeros, become four columns of y, by
// vectors of kWidth and narrower ones: 4 × 4 at a time within 128 bits, so that no shuffle crosses them.
template <std::size_t kWidth>
HWY_INLINE void transpose_four_rows(std::size_t rows, std::size_t columns, float factor, Input x, Output y) {
  std::size_t c = 0;
#if HWY_TARGET != HWY_SCALAR
  if constexpr (kWidth >= 4) {
    const hn::CappedTag<float, kWidth> d;
    const hn::Repartition<double, decltype(d)> pairs;
    const auto by = hn::Set(d, factor);
    for (; c + kWidth <= columns; c += kWidth) {
      const auto load = [&](std::size_t r) HWY_ATTR {
        return r < rows ? hn::Mul(by, hn::LoadU(d, x.row(r) + c)) : hn::Zero(d);
      };
      const auto row0 = load(0), row1 = load(1), row2 = load(2), row3 = load(3);
      const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, row0, row1));
      const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, row0, row1));
      const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, row2, row3));
      const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, row2, row3));
      store_parts(d, hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23)), y.row(c), 4 * y.stride);
      store_parts(d, hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23)), y.row(c + 1), 4 * y.stride);
      store_parts(d, hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23)), y.row(c + 2), 4 * y.stride);
      store_parts(d, hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23)), y.row(c + 3), 4 * y.stride);
    }
    if (c < columns)
      transpose_four_rows<kWidth / 2>(rows, columns - c, factor, {x.data + c, x.stride}, y.from_row(c));
    return;
  }
#endif
  for (; c < columns; ++c) {
    for (std::size_t r = 0; r < 4; ++r) y.row(c)[r] = r < rows ? factor * x.row(r)[c] : 0;
  }
}

// y = (factor · x)ᵀ: x [rows, columns], y [columns, rows padded to kPadding], zeros in the padding.
HWY_INLINE void transpose(std::size_t rows, std::size_t columns, float factor, Input x, Output y) {
  static_assert(kPadding % 4 == 0);
  for (std::size_t r = 0; r < padded(rows); r += 4) {
    const std::size_t exist = rows <= r ? 0 : std::min<std::size_t>(rows - r, 4);
    transpose_four_rows<kLanes>(exist, columns, factor, x.from_row(r), {y.data + r, y.stride});
  }
}

}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // toggle
