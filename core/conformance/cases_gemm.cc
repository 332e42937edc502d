#include "core/conformance/cases.h"

namespace vretnet::conformance {
namespace {

using ops::ActivationKind;
using ops::Gemm;
using ops::Write;

struct Sizes {
  std::int64_t rows, columns, depth;
  std::string text() const { return fmt::format("{}x{}x{}", rows, columns, depth); }
};

constexpr Sizes kSizes[] = {{1, 1, 1},    {1, 17, 5},   {3, 1, 33},    {7, 13, 31},   {16, 16, 16},
                            {33, 65, 47}, {64, 48, 96}, {130, 70, 20}, {49, 192, 97}, {0, 5, 4}};

struct Epilogue {
  const char* name;
  bool bias = false, residual = false, pre_activation = false;
  ActivationKind activation = ActivationKind::none;
  float alpha = 1;
  Write write = Write::overwrite;
  bool constant_b = false;
};

constexpr Epilogue kEpilogues[] = {
    {.name = ""},
    {.name = " bias", .bias = true},
    {.name = " residual", .residual = true},
    {.name = " bias gelu", .bias = true, .activation = ActivationKind::gelu},
    {.name = " bias gelu kept", .bias = true, .pre_activation = true, .activation = ActivationKind::gelu},
    {.name = " silu kept", .pre_activation = true, .activation = ActivationKind::silu},
    {.name = " bias residual", .bias = true, .residual = true},
    {.name = " accumulate", .write = Write::accumulate},
    {.name = " alpha", .alpha = 0.3f},
    {.name = " alpha accumulate", .alpha = -1.7f, .write = Write::accumulate},
    {.name = " constant", .constant_b = true},
    {.name = " bias gelu residual constant",
     .bias = true,
     .residual = true,
     .activation = ActivationKind::gelu,
     .constant_b = true},
    {.name = " all",
     .bias = true,
     .residual = true,
     .pre_activation = true,
     .activation = ActivationKind::gelu,
     .alpha = 0.3f,
     .write = Write::accumulate},
};

void add_matrices(std::vector<Case>& cases, const Sizes& sizes, const Epilogue& epilogue,
                  const Layout& a_layout, const Layout& b_layout, const Layout& y_layout) {
  cases.push_back({fmt::format("Gemm/{}{} a{} b{} y{}", sizes.text(), epilogue.name, text_of(a_layout),
                               text_of(b_layout), text_of(y_layout)),
                   [=](Operands& operands) {
                     const Shape y_shape{sizes.rows, sizes.columns};
                     Gemm op;
                     // Small where an activation follows, which a large sum would saturate.
                     const Values values =
                         epilogue.activation == ActivationKind::none ? Values::normal : Values::small;
                     op.a = operands.input("a", {sizes.rows, sizes.depth}, a_layout, values);
                     op.b = operands.input("b", {sizes.depth, sizes.columns}, b_layout);
                     op.y = written(operands, "y", y_shape, y_layout, epilogue.write);
                     if (epilogue.bias) op.bias = operands.input("bias", {sizes.columns});
                     if (epilogue.residual) op.residual = operands.input("residual", y_shape, y_layout);
                     if (epilogue.pre_activation)
                       op.pre_activation = operands.output("pre_activation", y_shape, y_layout);
                     op.activation = epilogue.activation;
                     op.alpha = epilogue.alpha;
                     op.write = epilogue.write;
                     op.constant_b = epilogue.constant_b;
                     return op;
                   }});
}

// [batch, heads, rows, depth] × [batch, heads, depth, columns] as attention has them: heads interleaved in
// the rows.
void add_batches(std::vector<Case>& cases, std::int64_t batch, std::int64_t heads, const Sizes& sizes,
                 Write write) {
  cases.push_back(
      {fmt::format("Gemm/heads {}x{} of {}{}", batch, heads, sizes.text(), text_of(write)),
       [=](Operands& operands) {
         const auto [rows, columns, depth] = sizes;
         Gemm op;
         op.a = operands.input("a", {batch, rows, heads, depth}, kGaps).transposed(1, 2);
         op.b = operands.input("b", {batch, columns, heads, depth}).transposed(1, 2).transposed();
         op.y = written(operands, "y", {batch, rows, heads, columns}, kGaps, write).transposed(1, 2);
         op.alpha = 0.25f;
         op.write = write;
         return op;
       }});
  cases.push_back({fmt::format("Gemm/batch {} of {} one b{}", batch, sizes.text(), text_of(write)),
                   [=](Operands& operands) {
                     const auto [rows, columns, depth] = sizes;
                     Gemm op;
                     op.a = operands.input("a", {batch, rows, depth});
                     op.b = operands.input("b", {depth, columns}).broadcast(0, batch);
                     op.y = written(operands, "y", {batch, rows, columns}, kPacked, write);
                     op.write = write;
                     return op;
                   }});
}

}  // namespace

void add_gemm_cases(std::vector<Case>& cases) {
  constexpr Layout kTransposed{.transposed = true}, kTransposedGaps{.gap = 3, .transposed = true};
  for (const Sizes& sizes : kSizes) {
    for (const Layout& a : {kPacked, kTransposed}) {
      for (const Layout& b : {kPacked, kTransposed}) add_matrices(cases, sizes, kEpilogues[0], a, b, kPacked);
    }
    add_matrices(cases, sizes, kEpilogues[0], kTransposedGaps, kTransposedGaps, kGaps);
    add_matrices(cases, sizes, kEpilogues[0], Layout{.reversed = 0}, kPacked, kPacked);
    for (const Epilogue& epilogue : kEpilogues)
      add_matrices(cases, sizes, epilogue, kGaps, kTransposed, kGaps);
    for (const Epilogue& epilogue : kEpilogues) {
      if (*epilogue.name) add_matrices(cases, sizes, epilogue, kPacked, kTransposed, kPacked);
    }
  }
  for (Write write : kWrites) {
    for (const Sizes& sizes : {Sizes{1, 1, 1}, Sizes{5, 7, 3}, Sizes{17, 17, 32}})
      add_batches(cases, 2, 3, sizes, write);
    add_batches(cases, 0, 3, {5, 7, 3}, write);
  }
}

}  // namespace vretnet::conformance
