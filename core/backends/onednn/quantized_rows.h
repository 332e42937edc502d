// The passes before and after the product of a QuantizedGemm, over a panel of rows that stays in cache.
#pragma once

#include <cstdint>

#include "core/backends/onednn/mixers/matrix.h"
#include "core/ops/ops.h"

namespace vretnet::onednn {

// q = x · inverse, rounded to the nearest integer, ties to even, cut to ±127; to bytes q + 128, or to floats
// q.
void quantize_rows(Input x, std::int64_t rows, std::int64_t columns, float inverse, std::uint8_t* q);
void quantize_rows(Input x, std::int64_t rows, std::int64_t columns, float inverse, float* q);

// What follows a product, column by column: z = (sum − correction) · scale + bias.
struct Columns {
  const std::int32_t* correction;  // null: the sums are floats, and right
  const float* scale;
  const float* bias;  // may be null
};
// y = activation(z) + residual. `sums` [rows, columns] without gaps are s32 where there is a correction, else
// f32; residual.data may be null.
void dequantize_rows(const void* sums, const Columns& values, Input residual, Output y, std::int64_t rows,
                     std::int64_t columns, ops::ActivationKind kind);

}  // namespace vretnet::onednn
