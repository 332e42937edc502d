// Sums down the columns of a matrix: behind ColumnSum, pooling, and every gradient of a parameter that rows
// share.
#pragma once

#include <cstdint>

namespace vretnet::onednn {

// y[c] += scale · Σ_r x[r·row_stride + c], c < columns, on the calling thread.
void add_column_sums(const float* x, std::int64_t row_stride, std::int64_t rows, std::int64_t columns,
                     float scale, float* y);

}  // namespace vretnet::onednn
