#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/quantized_rows.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h:
#include "core/backends/onednn/quantized_rows.h"
#include "core/backends/onednn/row_kernels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

using Integers = hn::RebindToSigned<Floats>;
using Bytes = hn::Rebind<std::uint8_t, Floats>;

// x · inverse cut to ±127, in f32: the integers of the reference, bit for bit.
HWY_INLINE Vector cut(Vector x, Vector inverse) {
  const Floats d;
  return hn::Max(hn::Min(hn::Mul(x, inverse), hn::Set(d, 127.0f)), hn::Set(d, -127.0f));
}

void quantize_to_bytes(Input x, std::int64_t rows, std::int64_t columns, float inverse, std::uint8_t* q) {
  const Floats d;
  const Integers integers;
  const Bytes bytes;
  const Vector factor = hn::Set(d, inverse);
  const auto middle = hn::Set(integers, 128);
  const auto quantized = [&](Vector v) HWY_ATTR {
    return hn::DemoteTo(bytes, hn::Add(hn::NearestInt(cut(v, factor)), middle));
  };
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t row = 0; row < rows; ++row, q += columns) {
    const float* from = x.row(row);
    std::int64_t i = 0;
    for (; i + lanes <= columns; i += lanes) hn::StoreU(quantized(hn::LoadU(d, from + i)), bytes, q + i);
    if (i == columns) continue;
    HWY_ALIGN std::uint8_t last[HWY_MAX_BYTES];
    hn::Store(quantized(PartOfVector(columns - i).load(from + i)), bytes, last);
    for (std::int64_t j = i; j < columns; ++j) q[j] = last[j - i];
  }
}

void quantize_to_floats(Input x, std::int64_t rows, std::int64_t columns, float inverse, float* q) {
  const Floats d;
  const Vector factor = hn::Set(d, inverse);
  for (std::int64_t row = 0; row < rows; ++row, q += columns) {
    const float* from = x.row(row);
    for_vectors(columns, [&](auto lanes, std::int64_t i) HWY_ATTR {
      lanes.store(hn::ConvertTo(d, hn::NearestInt(cut(lanes.load(from + i), factor))), q + i);
    });
  }
}

template <ops::ActivationKind kKind, bool kIntegers>
void dequantize(const float* sums, const Columns& values, Input residual, Output y, std::int64_t rows,
                std::int64_t columns) {
  const Floats d;
  const Integers integers;
  // Integers are loaded as the floats that their bits make, so that one kind of load has a masked form.
  const auto* correction = reinterpret_cast<const float*>(values.correction);
  for (std::int64_t row = 0; row < rows; ++row, sums += columns) {
    const float* add = residual ? residual.row(row) : nullptr;
    float* to = y.row(row);
    for_vectors(columns, [&](auto lanes, std::int64_t i) HWY_ATTR {
      Vector z = lanes.load(sums + i);
      if constexpr (kIntegers) {
        const auto wrong = hn::BitCast(integers, lanes.load(correction + i));
        z = hn::ConvertTo(d, hn::Sub(hn::BitCast(integers, z), wrong));
      }
      const Vector scale = lanes.load(values.scale + i);
      z = values.bias ? hn::MulAdd(z, scale, lanes.load(values.bias + i)) : hn::Mul(z, scale);
      z = activate<kKind>(z);
      if (add) z = hn::Add(z, lanes.load(add + i));
      lanes.store(z, to + i);
    });
  }
}

template <bool kIntegers>
void dequantize_as(const float* sums, const Columns& values, Input residual, Output y, std::int64_t rows,
                   std::int64_t columns, ops::ActivationKind kind) {
  using ops::ActivationKind;
  switch (kind) {
    case ActivationKind::none:
      return dequantize<ActivationKind::none, kIntegers>(sums, values, residual, y, rows, columns);
    case ActivationKind::gelu:
      return dequantize<ActivationKind::gelu, kIntegers>(sums, values, residual, y, rows, columns);
    case ActivationKind::silu:
      return dequantize<ActivationKind::silu, kIntegers>(sums, values, residual, y, rows, columns);
  }
}
void dequantize_integers(const float* sums, const Columns& values, Input residual, Output y,
                         std::int64_t rows, std::int64_t columns, ops::ActivationKind kind) {
  dequantize_as<true>(sums, values, residual, y, rows, columns, kind);
}
void dequantize_floats(const float* sums, const Columns& values, Input residual, Output y, std::int64_t rows,
                       std::int64_t columns, ops::ActivationKind kind) {
  dequantize_as<false>(sums, values, residual, y, rows, columns, kind);
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(quantize_to_bytes);
HWY_EXPORT(quantize_to_floats);
HWY_EXPORT(dequantize_integers);
HWY_EXPORT(dequantize_floats);

void quantize_rows(Input x, std::int64_t rows, std::int64_t columns, float inverse, std::uint8_t* q) {
  HWY_DYNAMIC_DISPATCH(quantize_to_bytes)(x, rows, columns, inverse, q);
}
void quantize_rows(Input x, std::int64_t rows, std::int64_t columns, float inverse, float* q) {
  HWY_DYNAMIC_DISPATCH(quantize_to_floats)(x, rows, columns, inverse, q);
}

void dequantize_rows(const void* sums, const Columns& values, Input residual, Output y, std::int64_t rows,
                     std::int64_t columns, ops::ActivationKind kind) {
  const auto* first = static_cast<const float*>(sums);
  if (values.correction) {
    HWY_DYNAMIC_DISPATCH(dequantize_integers)(first, values, residual, y, rows, columns, kind);
  } else {
    HWY_DYNAMIC_DISPATCH(dequantize_floats)(first, values, residual, y, rows, columns, kind);
  }
}

}  // namespace vretnet::onednn
#endif  // HWY_ONCE
