// Rotate: pairs of neighbours turned by the token's angles.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/rotate.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h:
#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/row_kernels-inl.h"
#include "core/backends/onednn/rows.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

// Turns pairs from `pair` on while whole vectors of them are left; returns the first pair not turned.
template <class D>
HWY_INLINE std::int64_t rotate_pairs(D d, const float* x, const float* cosine, const float* sine, float* y,
                                     std::int64_t pair, std::int64_t pairs, float scale, float sign) {
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto scales = hn::Set(d, scale), signs = hn::Set(d, sign);
  for (; pair + lanes <= pairs; pair += lanes) {
    hn::Vec<D> a, b;
    hn::LoadInterleaved2(d, x + 2 * pair, a, b);
    const auto c = hn::LoadU(d, cosine + pair), s = hn::Mul(hn::LoadU(d, sine + pair), signs);
    const auto turned_a = hn::Mul(hn::NegMulAdd(b, s, hn::Mul(a, c)), scales);
    const auto turned_b = hn::Mul(hn::MulAdd(a, s, hn::Mul(b, c)), scales);
    hn::StoreInterleaved2(turned_a, turned_b, d, y + 2 * pair);
  }
  return pair;
}

// Rows of pairs: y, x, cosine, sine.
void rotate_rows(const Rows<4>& rows, Range range, float scale, bool inverse) {
  const float sign = inverse ? -1.0f : 1.0f;
  const std::int64_t pairs = rows.width();
  rows.for_each(range, [&](std::int64_t, const auto& at) HWY_ATTR {
    std::int64_t pair = rotate_pairs(Floats(), at[1], at[2], at[3], at[0], 0, pairs, scale, sign);
    pair = rotate_pairs(hn::CappedTag<float, 4>(), at[1], at[2], at[3], at[0], pair, pairs, scale, sign);
    rotate_pairs(hn::CappedTag<float, 1>(), at[1], at[2], at[3], at[0], pair, pairs, scale, sign);
  });
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(rotate_rows);

void run(const ops::Rotate& op) {
  // As rows of d/2 pairs, the views of elements and of angles have one shape.
  const std::int64_t batch = op.x.extent(0), heads = op.x.extent(2), pairs = op.x.extent(3) / 2;
  const auto angles = [&](const View& table) { return table.broadcast(1, heads).broadcast(0, batch); };
  const Rows<4> rows({op.y.slice(3, 0, pairs), op.x.slice(3, 0, pairs), angles(op.cosine), angles(op.sine)},
                     RowAxes::innermost);
  for_ranges(rows.rows(), 2 * pairs, [&](Range range) {
    HWY_DYNAMIC_DISPATCH(rotate_rows)(rows, range, op.scale, op.inverse);
  });
}

}  // namespace vretnet::onednn
#endif  // HWY_ONCE
