#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backends/onednn/column_sum.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h:
#include <algorithm>

#include "core/backends/onednn/column_sum.h"
#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/parallel.h"
#include "core/backends/onednn/row_kernels-inl.h"
#include "core/ops/workspace.h"

HWY_BEFORE_NAMESPACE();
namespace vretnet::onednn::HWY_NAMESPACE {
namespace {

// Rows are summed in registers by blocks before y takes them: less traffic, and rounding that grows with the
// block and the number of blocks instead of all rows.
constexpr std::int64_t kBlock = 32;

void add_column_sums(const float* x, std::int64_t row_stride, std::int64_t rows, std::int64_t columns,
                     float scale, float* y) {
  const Vector scales = hn::Set(Floats(), scale);
  for (std::int64_t row = 0; row < rows; row += kBlock) {
    const float* block = x + row * row_stride;
    const std::int64_t count = std::min(kBlock, rows - row);
    for_vectors(columns, [&](auto lanes, std::int64_t c) HWY_ATTR {
      Vector even = lanes.load(block + c), odd = hn::Zero(Floats());
      std::int64_t r = 1;
      for (; r + 2 <= count; r += 2) {
        odd = hn::Add(odd, lanes.load(block + r * row_stride + c));
        even = hn::Add(even, lanes.load(block + (r + 1) * row_stride + c));
      }
      if (r < count) odd = hn::Add(odd, lanes.load(block + r * row_stride + c));
      lanes.store(hn::MulAdd(hn::Add(even, odd), scales, lanes.load(y + c)), y + c);
    });
  }
}

}  // namespace
}  // namespace vretnet::onednn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vretnet::onednn {
HWY_EXPORT(add_column_sums);

void add_column_sums(const float* x, std::int64_t row_stride, std::int64_t rows, std::int64_t columns,
                     float scale, float* y) {
  HWY_DYNAMIC_DISPATCH(add_column_sums)(x, row_stride, rows, columns, scale, y);
}

namespace {

// Sums per part, [parts, columns].
View take_partial_sums(ops::Workspace& workspace, const ops::ColumnSum& op) {
  return workspace.take(DType::f32, {parts_for(op.x.elements()), op.x.extent(1)});
}

}  // namespace

std::size_t workspace_bytes(const ops::ColumnSum& op) {
  ops::Workspace workspace;
  take_partial_sums(workspace, op);
  return workspace.bytes();
}

void run(const ops::ColumnSum& op) {
  if (op.x.elements() == 0) return;
  ops::Workspace workspace(op.workspace);
  const View partial = take_partial_sums(workspace, op);
  const std::int64_t rows = op.x.extent(0), columns = op.x.extent(1), stride = op.x.stride(0);
  const int parts = static_cast<int>(partial.extent(0));
  for_parts(parts, [&](int part) {
    float* sums = partial.data<float>() + part * columns;
    std::fill_n(sums, columns, 0.0f);
    const Range range = part_of(rows, part, parts);
    add_column_sums(op.x.data<float>() + range.begin * stride, stride, range.end - range.begin, columns, 1,
                    sums);
  });
  add_column_sums(partial.data<float>(), columns, parts, columns, 1, op.y.data<float>());
}

}  // namespace vretnet::onednn
#endif  // HWY_ONCE
