#include <cmath>
#include <limits>

#include "core/conformance/cases.h"

namespace vretnet::conformance {
namespace {

using ops::PoolKind;
using ops::Write;

void add_pools(std::vector<Case>& cases, const Shape& x, const Layout& layout, PoolKind kind, Write write) {
  const std::string text =
      fmt::format("{} {}{}", kind == PoolKind::mean ? "mean" : "last", x.text(), text_of(layout));
  const Shape pooled{x[0], x[2]};
  const float scale = 1 / static_cast<float>(x[1]);
  cases.push_back({"PoolTokens/" + text + text_of(write), [=](Operands& operands) {
                     ops::PoolTokens op;
                     op.x = operands.input("x", x, layout);
                     op.y = written(operands, "y", pooled, layout.reversed < 0 ? layout : kPacked, write);
                     op.kind = kind;
                     op.scale = scale;
                     op.write = write;
                     return op;
                   }});
  if (write == Write::accumulate) return;
  cases.push_back({"PoolTokensGradient/" + text, [=](Operands& operands) {
                     ops::PoolTokensGradient op;
                     op.d_y = operands.input("d_y", pooled);
                     op.d_x = operands.output("d_x", x, layout);
                     op.kind = kind;
                     op.scale = scale;
                     return op;
                   }});
}

struct Loss {
  std::int64_t batch, classes;
  bool hard_targets, class_weights, with_gradient;
  float smoothing;
};

void add_loss(std::vector<Case>& cases, const Loss& loss, const Layout& layout) {
  cases.push_back(
      {fmt::format("CrossEntropy/{}x{}{}{}{}{} smoothing {}", loss.batch, loss.classes, text_of(layout),
                   loss.hard_targets ? " hard" : " soft", loss.class_weights ? " weighted" : "",
                   loss.with_gradient ? " with gradient" : "", loss.smoothing),
       [=](Operands& operands) {
         const Shape shape{loss.batch, loss.classes};
         ops::CrossEntropy op;
         op.logits = operands.input("logits", shape, layout);
         if (loss.hard_targets) {
           std::vector<double> one_hot(static_cast<std::size_t>(shape.elements()), 0);
           for (std::int64_t b = 0; b < loss.batch; ++b) {
             one_hot[static_cast<std::size_t>(b * loss.classes + (b * 7 + 3) % loss.classes)] = 1;
           }
           op.targets = operands.given("targets", shape, one_hot);
         } else {
           op.targets = operands.input("targets", shape, layout, Values::positive);
         }
         if (loss.class_weights)
           op.class_weight = operands.input("class_weight", {loss.classes}, {}, Values::positive);
         op.loss = operands.output("loss", {loss.batch});
         if (loss.with_gradient) op.d_logits = operands.output("d_logits", shape, layout);
         op.smoothing = loss.smoothing;
         op.gradient_scale = 0.125f;
         return op;
       }});
  if (loss.classes == 1) {  // log softmax of one class is 0
    cases.back().without_influence = {"logits", "targets", "class_weight"};
  } else if (loss.hard_targets && loss.class_weights && loss.smoothing == 0 && loss.classes > 2) {
    cases.back().without_influence = {"class_weight"};  // the last class is nobody's target
  }
}

void add_softmax(std::vector<Case>& cases, const Shape& shape, const Layout& layout) {
  const std::string text = shape.text() + text_of(layout);
  cases.push_back({"Softmax/" + text, [=](Operands& operands) {
                     return ops::Softmax{.x = operands.input("x", shape, layout),
                                         .y = operands.output("y", shape, layout)};
                   }});
  if (shape[1] == 1) {  // its softmax is 1
    cases.back().without_influence = {"x"};
    return;
  }
  cases.push_back({"Softmax/in place " + text, [=](Operands& operands) {
                     const View y = operands.update("y", shape, layout);
                     return ops::Softmax{.x = y, .y = y};
                   }});
  cases.push_back({"SoftmaxGradient/" + text, [=](Operands& operands) {
                     ops::SoftmaxGradient op;
                     op.y = operands.input("y", shape, layout, Values::positive);
                     op.d_y = operands.input("d_y", shape, layout);
                     op.d_x = operands.output("d_x", shape, layout);
                     return op;
                   }});
}

std::vector<double> step_scalars() {
  return {1e-3, 0.19, 0.002, 0.01};
}

void add_optimizer(std::vector<Case>& cases, std::int64_t count) {
  struct Option {
    const char* name;
    float weight_decay, max_norm;
    double squared_norm;  // negative: not given
  };
  for (const Option& option : {Option{"", 0, 0, -1}, Option{" weight decay", 0.05f, 0, -1},
                               Option{" clipped", 0.05f, 1, 16}, Option{" below the clip", 0.05f, 1, 0.25},
                               Option{" not finite", 0.05f, 1, std::numeric_limits<double>::infinity()}}) {
    cases.push_back({fmt::format("AdamW/{}{}", count, option.name), [=](Operands& operands) {
                       ops::AdamW op;
                       op.parameter = operands.update("parameter", {count});
                       op.gradient = operands.input("gradient", {count});
                       op.first_moment = operands.update("first_moment", {count});
                       op.second_moment =
                           operands.update("second_moment", {count}, kPacked, Values::positive);
                       op.step_scalars = operands.given("step_scalars", {ops::kStepScalars}, step_scalars());
                       if (option.squared_norm >= 0) {
                         op.gradient_squared_norm =
                             operands.given("gradient_squared_norm", {1}, {option.squared_norm});
                       }
                       op.weight_decay = option.weight_decay;
                       op.max_norm = option.max_norm;
                       return op;
                     }});
    if (std::isinf(option.squared_norm)) cases.back().without_influence = {"gradient"};
  }
  cases.push_back({fmt::format("Lerp/{}", count), [=](Operands& operands) {
                     ops::Lerp op;
                     op.x = operands.input("x", {count});
                     op.y = operands.update("y", {count});
                     op.step_scalars = operands.given("step_scalars", {ops::kStepScalars}, step_scalars());
                     return op;
                   }});
  cases.push_back({fmt::format("SquaredNorm/{}", count), [=](Operands& operands) {
                     ops::SquaredNorm op;
                     op.x = operands.input("x", {count});
                     op.y = operands.output("y", {1});
                     return op;
                   }});
}

}  // namespace

void add_head_cases(std::vector<Case>& cases) {
  for (const Layout& layout : {kPacked, kGaps, Layout{.reversed = 1}}) {
    for (const Shape& x : {Shape{1, 1, 1}, Shape{2, 7, 17}, Shape{3, 49, 96}, Shape{0, 5, 16}}) {
      for (Write write : kWrites) add_pools(cases, x, layout, PoolKind::mean, write);
      add_pools(cases, x, layout, PoolKind::last, Write::overwrite);
    }
  }
  for (const Layout& layout : {kPacked, kGaps}) {
    for (std::int64_t classes : {1, 2, 10, 101}) {
      for (bool hard_targets : {false, true}) {
        for (float smoothing : {0.0f, 0.1f}) {
          add_loss(cases, {3, classes, hard_targets, false, true, smoothing}, layout);
          add_loss(cases, {2, classes, hard_targets, true, true, smoothing}, layout);
          add_loss(cases, {1, classes, hard_targets, true, false, smoothing}, layout);
        }
      }
    }
    add_loss(cases, {0, 10, false, true, true, 0.1f}, layout);
  }
  for (const Layout& layout : {kPacked, kGaps}) {
    for (const Shape& shape : {Shape{3, 1}, Shape{3, 2}, Shape{5, 17}, Shape{2, 196}, Shape{0, 7}}) {
      add_softmax(cases, shape, layout);
    }
  }
  for (std::int64_t count : {1, 17, 300, 1030}) add_optimizer(cases, count);
}

}  // namespace vretnet::conformance
