#include <cmath>

#include "core/backends/reference/reference_backend.h"
#include "core/conformance/cases.h"

namespace vretnet::conformance {
namespace {

// What the forward op saved for the gradient, of the inputs that `operands` drew.
struct Saved {
  std::vector<double> o, log_sum_exp;
};

Saved attend(const Operands& operands, const Shape& shape, float scale) {
  const std::unique_ptr<Backend> backend = reference::make_reference_backend();
  const auto make = [&](const Shape& of, const char* name) {
    Allocation memory(*backend, DType::f64, of);
    if (name) backend->upload(memory.view(), operands.values(name).data());
    return memory;
  };
  const Allocation q = make(shape, "q"), k = make(shape, "k"), v = make(shape, "v"), o = make(shape, nullptr);
  const Allocation log_sum_exp = make({shape[0], shape[2], shape[1]}, nullptr);
  backend->run(ops::Attention{.q = q.view(),
                              .k = k.view(),
                              .v = v.view(),
                              .o = o.view(),
                              .log_sum_exp = log_sum_exp.view(),
                              .scale = scale});
  Saved saved{std::vector<double>(static_cast<std::size_t>(o.view().elements())),
              std::vector<double>(static_cast<std::size_t>(log_sum_exp.view().elements()))};
  backend->download(o.view(), saved.o.data());
  backend->download(log_sum_exp.view(), saved.log_sum_exp.data());
  return saved;
}

void add_attention(std::vector<Case>& cases, const Shape& shape, const Layout& layout) {
  const float scale = 1 / std::sqrt(static_cast<float>(shape[3]));
  const std::string text = shape.text() + text_of(layout);
  const Shape statistics{shape[0], shape[2], shape[1]};
  for (bool keeps_statistics : {false, true}) {
    cases.push_back({"Attention/" + text + (keeps_statistics ? " kept" : ""), [=](Operands& operands) {
                       ops::Attention op;
                       op.q = operands.input("q", shape, layout);
                       op.k = operands.input("k", shape, layout);
                       op.v = operands.input("v", shape, layout);
                       op.o = operands.output("o", shape, layout);
                       if (keeps_statistics) op.log_sum_exp = operands.output("log_sum_exp", statistics);
                       op.scale = scale;
                       return op;
                     }});
    // A token alone looks at nothing but itself.
    if (shape[1] == 1 && !keeps_statistics) cases.back().without_influence = {"q", "k"};
  }
  cases.push_back({"AttentionGradient/" + text, [=](Operands& operands) {
                     ops::AttentionGradient op;
                     op.q = operands.input("q", shape, layout);
                     op.k = operands.input("k", shape, layout);
                     op.v = operands.input("v", shape, layout);
                     const Saved saved = attend(operands, shape, scale);
                     op.o = operands.given("o", shape, saved.o);
                     op.log_sum_exp = operands.given("log_sum_exp", statistics, saved.log_sum_exp);
                     op.d_o = operands.input("d_o", shape, layout);
                     op.d_q = operands.output("d_q", shape, layout);
                     op.d_k = operands.output("d_k", shape, layout);
                     op.d_v = operands.output("d_v", shape, layout);
                     op.scale = scale;
                     return op;
                   }});
}

}  // namespace

void add_attention_cases(std::vector<Case>& cases) {
  for (const Layout& layout : {kPacked, kGaps, Layout{.reversed = 1}}) {
    for (const Shape& shape : {Shape{1, 1, 1, 4}, Shape{2, 5, 3, 8}, Shape{1, 17, 2, 16}, Shape{2, 50, 3, 32},
                               Shape{1, 65, 1, 64}, Shape{1, 7, 2, 5}, Shape{0, 5, 3, 8}}) {
      add_attention(cases, shape, layout);
    }
  }
}

}  // namespace vretnet::conformance
