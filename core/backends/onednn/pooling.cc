// PoolTokens and its gradient.
#include <algorithm>

#include "core/backends/onednn/column_sum.h"
#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/parallel.h"
#include "core/base/ensure.h"

namespace vretnet::onednn {

void run(const ops::PoolTokens& op) {
  const std::int64_t batch = op.x.extent(0), tokens = op.x.extent(1), width = op.x.extent(2);
  ensure(op.kind == ops::PoolKind::mean || tokens > 0, "no last of {} tokens", tokens);
  if (op.y.elements() == 0) return;
  // The last token is a mean over one, and never accumulates.
  const bool last = op.kind == ops::PoolKind::last;
  const View x = last ? op.x.slice(1, tokens - 1, 1) : op.x;
  const std::int64_t rows = x.extent(1);
  const float scale = last ? 1.0f : op.scale;
  for_ranges(batch, rows * width, [&](Range range) {
    for (std::int64_t image = range.begin; image < range.end; ++image) {
      float* y = op.y.data<float>() + image * op.y.stride(0);
      if (last || op.write == ops::Write::overwrite) std::fill_n(y, width, 0.0f);
      if (rows > 0)
        add_column_sums(x.data<float>() + image * x.stride(0), x.stride(1), rows, width, scale, y);
    }
  });
}

void run(const ops::PoolTokensGradient& op) {
  const std::int64_t batch = op.d_x.extent(0), tokens = op.d_x.extent(1), width = op.d_x.extent(2);
  if (op.d_x.elements() == 0) return;
  const bool mean = op.kind == ops::PoolKind::mean;
  for_ranges(batch, tokens * width, [&](Range range) {
    for (std::int64_t image = range.begin; image < range.end; ++image) {
      const float* d_y = op.d_y.data<float>() + image * op.d_y.stride(0);
      for (std::int64_t token = 0; token < tokens; ++token) {
        float* d_x = op.d_x.data<float>() + image * op.d_x.stride(0) + token * op.d_x.stride(1);
        if (mean) {
          for (std::int64_t c = 0; c < width; ++c) d_x[c] = op.scale * d_y[c];
        } else if (token + 1 == tokens) {
          std::copy_n(d_y, width, d_x);
        } else {
          std::fill_n(d_x, width, 0.0f);
        }
      }
    }
  });
}

}  // namespace vretnet::onednn
