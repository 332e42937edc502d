#include "core/conformance/cases.h"

namespace vretnet::conformance {
namespace {

using ops::ActivationKind;
using ops::Write;

const Shape kShapes[] = {{1}, {37}, {3, 17}, {2, 7, 33}, {2, 5, 3, 16}, {1, 64, 96}, {0, 7, 5}};

void add_converts(std::vector<Case>& cases, Write write) {
  const auto add = [&](const std::string& name, const Shape& shape, const Layout& x_layout,
                       const Layout& y_layout) {
    cases.push_back(
        {fmt::format("Convert/{} {}{}", shape.text(), name, text_of(write)), [=](Operands& operands) {
           ops::Convert op;
           op.x = operands.input("x", shape, x_layout);
           op.y = written(operands, "y", shape, y_layout, write);
           op.write = write;
           return op;
         }});
  };
  for (const Shape& shape : kShapes) {
    add("packed", shape, kPacked, kPacked);
    add("from gaps to gaps", shape, kGaps, kGaps);
    add("reversed", shape, Layout{.reversed = shape.rank() - 1}, kPacked);
    if (shape.rank() >= 2) add("transposed", shape, Layout{.gap = 2, .transposed = true}, kPacked);
    if (shape.rank() >= 3) add("reversed tokens", shape, Layout{.reversed = 1}, kGaps);
  }
  cases.push_back({fmt::format("Convert/broadcast{}", text_of(write)), [=](Operands& operands) {
                     ops::Convert op;
                     op.x = operands.input("x", {5, 17}).broadcast(0, 3);
                     op.y = written(operands, "y", {3, 5, 17}, kPacked, write);
                     op.write = write;
                     return op;
                   }});
  cases.push_back({fmt::format("Convert/columns of an image{}", text_of(write)), [=](Operands& operands) {
                     ops::Convert op;
                     op.x = operands.input("x", {2, 3, 5, 8}).transposed(1, 2);
                     op.y = written(operands, "y", {2, 5, 3, 8}, kPacked, write);
                     op.write = write;
                     return op;
                   }});
}

void add_column_sums(std::vector<Case>& cases) {
  for (std::int64_t rows : {0, 1, 3, 7, 64, 300}) {
    for (std::int64_t columns : {1, 5, 17, 64, 100}) {
      for (const Layout& layout : {kPacked, kGaps, Layout{.reversed = 0}}) {
        cases.push_back(
            {fmt::format("ColumnSum/{}x{}{}", rows, columns, text_of(layout)), [=](Operands& operands) {
               ops::ColumnSum op;
               op.x = operands.input("x", {rows, columns}, layout);
               op.y = operands.update("y", {columns});
               return op;
             }});
      }
    }
  }
}

void add_sums(std::vector<Case>& cases, const Shape& shape, const Layout& layout) {
  const std::string text = shape.text() + text_of(layout);
  cases.push_back({"Add/" + text, [=](Operands& operands) {
                     return ops::Add{.a = operands.input("a", shape, layout),
                                     .b = operands.input("b", shape, layout),
                                     .y = operands.output("y", shape, layout)};
                   }});
  cases.push_back({"Add/in place a " + text, [=](Operands& operands) {
                     const View y = operands.update("y", shape, layout);
                     return ops::Add{.a = y, .b = operands.input("b", shape), .y = y};
                   }});
  cases.push_back({"Add/in place b " + text, [=](Operands& operands) {
                     const View y = operands.update("y", shape, layout);
                     return ops::Add{.a = operands.input("a", shape), .b = y, .y = y};
                   }});
  if (shape.rank() != 3) return;
  for (const bool with_residual : {false, true}) {
    cases.push_back({"ScaleSamples/" + text + (with_residual ? " residual" : ""), [=](Operands& operands) {
                       ops::ScaleSamples op;
                       op.x = operands.input("x", shape, layout);
                       op.scale = operands.input("scale", {shape[0]});
                       if (with_residual) op.residual = operands.input("residual", shape, layout);
                       op.y = operands.output("y", shape, layout);
                       return op;
                     }});
  }
  cases.push_back({"ScaleSamples/in place " + text, [=](Operands& operands) {
                     const View y = operands.update("y", shape, layout);
                     return ops::ScaleSamples{.x = y, .scale = operands.input("scale", {shape[0]}), .y = y};
                   }});
  cases.push_back({"ScaleSamples/onto its residual " + text, [=](Operands& operands) {
                     const View y = operands.update("y", shape, layout);
                     return ops::ScaleSamples{.x = operands.input("x", shape, layout),
                                              .scale = operands.input("scale", {shape[0]}),
                                              .residual = y,
                                              .y = y};
                   }});
  const Shape addend{shape[1], shape[2]};
  cases.push_back({"BroadcastAdd/" + text, [=](Operands& operands) {
                     return ops::BroadcastAdd{
                         .x = operands.input("x", shape, layout),
                         .addend = operands.input("addend", addend, Layout{.gap = layout.gap}),
                         .y = operands.output("y", shape, layout)};
                   }});
  cases.push_back({"BroadcastAdd/in place " + text, [=](Operands& operands) {
                     const View y = operands.update("y", shape, layout);
                     return ops::BroadcastAdd{.x = y, .addend = operands.input("addend", addend), .y = y};
                   }});
}

void add_activations(std::vector<Case>& cases, const Shape& shape, const Layout& layout,
                     ActivationKind kind) {
  constexpr const char* kNames[] = {"none", "gelu", "silu"};
  const std::string text =
      fmt::format("{} {}{}", kNames[static_cast<int>(kind)], shape.text(), text_of(layout));
  cases.push_back({"Activation/" + text, [=](Operands& operands) {
                     return ops::Activation{.x = operands.input("x", shape, layout),
                                            .y = operands.output("y", shape, layout),
                                            .kind = kind};
                   }});
  cases.push_back({"ActivationGradient/" + text, [=](Operands& operands) {
                     return ops::ActivationGradient{.x = operands.input("x", shape, layout),
                                                    .d_y = operands.input("d_y", shape, layout),
                                                    .d_x = operands.output("d_x", shape, layout),
                                                    .kind = kind};
                   }});
  cases.push_back({"ActivationGradient/in place " + text, [=](Operands& operands) {
                     const View d_x = operands.update("d_x", shape, layout);
                     return ops::ActivationGradient{
                         .x = operands.input("x", shape, layout), .d_y = d_x, .d_x = d_x, .kind = kind};
                   }});
  cases.push_back({"ActivationGradient/both in place " + text, [=](Operands& operands) {
                     const View d_x = operands.update("d_x", shape, layout),
                                y = operands.update("y", shape, layout);
                     return ops::ActivationGradient{.x = y, .d_y = d_x, .d_x = d_x, .y = y, .kind = kind};
                   }});
  if (kind == ActivationKind::none) {  // whose derivative does not look at x
    cases.end()[-2].without_influence = cases.end()[-3].without_influence = {"x"};
  }
}

void add_gates(std::vector<Case>& cases, const Shape& shape, const Layout& layout) {
  const std::string text = shape.text() + text_of(layout);
  for (Write write : kWrites) {
    cases.push_back({"Gate/" + text + text_of(write), [=](Operands& operands) {
                       ops::Gate op;
                       op.g = operands.input("g", shape, layout);
                       op.x = operands.input("x", shape, layout);
                       op.y = written(operands, "y", shape, layout, write);
                       op.write = write;
                       return op;
                     }});
  }
  cases.push_back({"GateGradient/" + text, [=](Operands& operands) {
                     return ops::GateGradient{.g = operands.input("g", shape, layout),
                                              .x = operands.input("x", shape, layout),
                                              .d_y = operands.input("d_y", shape, layout),
                                              .d_g = operands.output("d_g", shape, layout),
                                              .d_x = operands.output("d_x", shape, layout)};
                   }});
}

// x from −30 to 30, where exp and erf run into their limits.
void add_wide_activations(std::vector<Case>& cases) {
  for (ActivationKind kind : {ActivationKind::gelu, ActivationKind::silu}) {
    const auto inputs = [](Operands& operands) {
      std::vector<double> values;
      for (int i = -120; i <= 120; ++i) values.push_back(i / 4.0);
      return operands.given("x", {241}, values);
    };
    const char* name = kind == ActivationKind::gelu ? "gelu" : "silu";
    cases.push_back({fmt::format("Activation/{} wide", name), [=](Operands& operands) {
                       return ops::Activation{
                           .x = inputs(operands), .y = operands.output("y", {241}), .kind = kind};
                     }});
    cases.push_back({fmt::format("ActivationGradient/{} wide", name), [=](Operands& operands) {
                       return ops::ActivationGradient{
                           .x = inputs(operands),
                           .d_y = operands.given("d_y", {241}, std::vector<double>(241, 1)),
                           .d_x = operands.output("d_x", {241}),
                           .kind = kind};
                     }});
  }
}

}  // namespace

void add_elementwise_cases(std::vector<Case>& cases) {
  for (Write write : kWrites) add_converts(cases, write);
  add_column_sums(cases);
  for (const Shape& shape : kShapes) {
    for (const Layout& layout : {kPacked, kGaps, Layout{.reversed = 1}}) {
      if (layout.reversed >= shape.rank() - 1) continue;
      add_sums(cases, shape, layout);
      add_gates(cases, shape, layout);
      for (ActivationKind kind : {ActivationKind::none, ActivationKind::gelu, ActivationKind::silu}) {
        add_activations(cases, shape, layout, kind);
      }
    }
  }
  add_wide_activations(cases);
}

}  // namespace vretnet::conformance
