#include "core/conformance/cases.h"

namespace vretnet::conformance {
namespace {

using ops::ActivationKind;
using ops::QuantizedGemm;

struct QuantizedSizes {
  std::int64_t rows, columns, depth;
};
// Among them few and many rows, which backends share out differently, and more than one block of columns.
constexpr QuantizedSizes kQuantizedSizes[] = {{1, 1, 1},     {1, 17, 5},   {3, 1, 33},    {7, 13, 31},
                                              {16, 16, 16},  {33, 65, 47}, {64, 48, 96},  {130, 70, 20},
                                              {49, 192, 97}, {5, 900, 12}, {70, 1000, 8}, {0, 5, 4}};

struct QuantizedEpilogue {
  const char* name;
  bool bias = false, residual = false;
  ActivationKind activation = ActivationKind::none;
};
constexpr QuantizedEpilogue kQuantizedEpilogues[] = {
    {.name = ""},
    {.name = " bias", .bias = true},
    {.name = " residual", .residual = true},
    {.name = " bias residual", .bias = true, .residual = true},
    {.name = " bias gelu", .bias = true, .activation = ActivationKind::gelu},
    {.name = " silu", .activation = ActivationKind::silu},
    {.name = " bias gelu residual", .bias = true, .residual = true, .activation = ActivationKind::gelu},
};

// Numbers of deviation 1 in steps of this size: ±127 steps cut off what lies beyond 2.7.
constexpr double kStep = 0.0213;

void add_case(std::vector<Case>& cases, const QuantizedSizes& sizes, const QuantizedEpilogue& epilogue,
              const Layout& rows, const Layout& b_layout) {
  cases.push_back({fmt::format("QuantizedGemm/{}x{}x{}{} rows{} b{}", sizes.rows, sizes.columns, sizes.depth,
                               epilogue.name, text_of(rows), text_of(b_layout)),
                   [=](Operands& operands) {
                     const Shape y_shape{sizes.rows, sizes.columns};
                     QuantizedGemm op;
                     op.a = operands.input("a", {sizes.rows, sizes.depth}, rows);
                     op.b = operands.integers("b", {sizes.depth, sizes.columns}, b_layout);
                     op.y = operands.output("y", y_shape, rows);
                     op.a_scale = operands.given("a_scale", {1}, {kStep});
                     // Sums of about √depth · 1 · 73: an activation sees numbers of about 1.
                     std::vector<double> scales;
                     for (std::int64_t n = 0; n < sizes.columns; ++n) {
                       scales.push_back((0.5 + static_cast<double>(n % 7) / 7) / (73.0 * 3));
                     }
                     op.b_scale = operands.given("b_scale", {sizes.columns}, scales);
                     if (epilogue.bias) op.bias = operands.input("bias", {sizes.columns});
                     if (epilogue.residual) op.residual = operands.input("residual", y_shape, rows);
                     op.activation = epilogue.activation;
                     return op;
                   }});
}

}  // namespace

void add_quantized_cases(std::vector<Case>& cases) {
  constexpr Layout kTransposed{.transposed = true}, kTransposedGaps{.gap = 3, .transposed = true};
  for (const QuantizedSizes& sizes : kQuantizedSizes) {
    for (const QuantizedEpilogue& epilogue : kQuantizedEpilogues)
      add_case(cases, sizes, epilogue, kPacked, kTransposed);
    add_case(cases, sizes, kQuantizedEpilogues[3], kGaps, kTransposedGaps);
    add_case(cases, sizes, kQuantizedEpilogues[1], Layout{.reversed = 0}, kGaps);
    add_case(cases, sizes, kQuantizedEpilogues[0], kPacked, kPacked);
  }
}

}  // namespace vretnet::conformance
