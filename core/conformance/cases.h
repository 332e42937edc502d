// The table in parts, one family of ops each; conformance_cases() is all of them.
#pragma once

#include <fmt/format.h>

#include <vector>

#include "core/conformance/conformance.h"

namespace vretnet::conformance {

void add_gemm_cases(std::vector<Case>& cases);         // Gemm
void add_quantized_cases(std::vector<Case>& cases);    // QuantizedGemm
void add_image_cases(std::vector<Case>& cases);        // Convolution, Depthwise, Patches, gradients
void add_elementwise_cases(std::vector<Case>& cases);  // Convert, ColumnSum, Add … Gate, gradients
void add_norm_cases(std::vector<Case>& cases);         // LayerNorm, HeadNorm, Rotate, gradients
void add_retention_cases(std::vector<Case>& cases);    // Retention, RetentionBlock, gradients
void add_attention_cases(std::vector<Case>& cases);    // Attention, gradient
void add_head_cases(std::vector<Case>& cases);         // PoolTokens, CrossEntropy, the optimizer

inline const char* text_of(const Layout& layout) {
  return layout.reversed >= 0 ? " reversed"
         : layout.transposed  ? " transposed"
         : layout.gap > 0     ? " gaps"
                              : "";
}

// An operand that the op overwrites or adds to.
inline View written(Operands& operands, const std::string& name, const Shape& shape, const Layout& layout,
                    ops::Write write) {
  return write == ops::Write::accumulate ? operands.update(name, shape, layout)
                                         : operands.output(name, shape, layout);
}
constexpr ops::Write kWrites[] = {ops::Write::overwrite, ops::Write::accumulate};
inline const char* text_of(ops::Write write) {
  return write == ops::Write::accumulate ? " accumulate" : "";
}

}  // namespace vretnet::conformance
