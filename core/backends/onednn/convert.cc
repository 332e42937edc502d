// Convert: copies between layouts and dtypes.
#include <algorithm>
#include <array>

#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/parallel.h"
#include "core/base/ensure.h"

namespace vretnet::onednn {
namespace {

struct Axis {
  std::int64_t extent = 1, x_stride = 0, y_stride = 0;
};

// Elements on a side of the square that a transposing copy keeps in cache.
constexpr std::int64_t kTile = 16;

template <class X, class Y>
void convert_plane(const X* x, Y* y, const Axis& rows, const Axis& columns, bool accumulate) {
  // Along x's memory there is nothing to transpose: whole rows are one tile.
  const std::int64_t wide = columns.x_stride == 1 || columns.x_stride == 0 ? columns.extent : kTile;
  for (std::int64_t row = 0; row < rows.extent; row += kTile) {
    for (std::int64_t column = 0; column < columns.extent; column += wide) {
      const std::int64_t row_end = std::min(row + kTile, rows.extent);
      const std::int64_t count = std::min(wide, columns.extent - column);
      for (std::int64_t r = row; r < row_end; ++r) {
        const X* from = x + r * rows.x_stride + column * columns.x_stride;
        Y* to = y + r * rows.y_stride + column * columns.y_stride;
        if (accumulate) {
          for (std::int64_t c = 0; c < count; ++c) to[c] += static_cast<Y>(from[c * columns.x_stride]);
        } else if (columns.x_stride == 1) {
          std::copy_n(from, count, to);
        } else {
          for (std::int64_t c = 0; c < count; ++c) to[c] = static_cast<Y>(from[c * columns.x_stride]);
        }
      }
    }
  }
}

template <class X, class Y>
void convert(const ops::Convert& op) {
  // The two inner axes make planes; the other axes count planes. A plane's rows are shared out as well.
  const int rank = op.y.rank();
  std::array<Axis, kMaxRank> axes{};  // the innermost first
  for (int axis = 0; axis < rank; ++axis) {
    axes[rank - 1 - axis] = {op.y.extent(axis), op.x.stride(axis), op.y.stride(axis)};
  }
  ensure(axes[0].extent <= 1 || axes[0].y_stride == 1, "innermost stride {} of y", axes[0].y_stride);
  const X* x = op.x.data<X>();
  Y* y = op.y.data<Y>();
  const std::int64_t planes = axes[2].extent * axes[3].extent * axes[4].extent;
  const std::int64_t bands = (axes[1].extent + kTile - 1) / kTile;
  for_ranges(planes * bands, axes[0].extent * kTile, [&](Range range) {
    for (std::int64_t item = range.begin; item < range.end; ++item) {
      std::int64_t plane = item / bands, x_offset = 0, y_offset = 0;
      for (int axis = 2; axis < kMaxRank; ++axis) {
        x_offset += plane % axes[axis].extent * axes[axis].x_stride;
        y_offset += plane % axes[axis].extent * axes[axis].y_stride;
        plane /= axes[axis].extent;
      }
      Axis rows = axes[1];
      const std::int64_t first = item % bands * kTile;
      rows.extent = std::min(kTile, rows.extent - first);
      convert_plane(x + x_offset + first * rows.x_stride, y + y_offset + first * rows.y_stride, rows, axes[0],
                    op.write == ops::Write::accumulate);
    }
  });
}

}  // namespace

void run(const ops::Convert& op) {
  ensure(op.x.shape() == op.y.shape(), "x {} and y {}", op.x.shape().text(), op.y.shape().text());
  if (op.y.elements() == 0) return;
  const bool x_wide = op.x.dtype() == DType::f64, y_wide = op.y.dtype() == DType::f64;
  if (x_wide) {
    y_wide ? convert<double, double>(op) : convert<double, float>(op);
  } else {
    y_wide ? convert<float, double>(op) : convert<float, float>(op);
  }
}

}  // namespace vretnet::onednn
