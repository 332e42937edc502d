#include <cmath>

#include "core/conformance/cases.h"
#include "core/retention/rotation.h"

namespace vretnet::conformance {
namespace {

using ops::HeadNormKind;

struct RowStatistics {
  std::vector<double> mean, inverse_deviation;
};

RowStatistics statistics_of(const std::vector<double>& x, std::int64_t rows, std::int64_t width,
                            double epsilon) {
  RowStatistics statistics;
  for (std::int64_t row = 0; row < rows; ++row) {
    const double* values = x.data() + row * width;
    double sum = 0, sum_of_squares = 0;
    for (std::int64_t c = 0; c < width; ++c) sum += values[c];
    const double mean = sum / static_cast<double>(width);
    for (std::int64_t c = 0; c < width; ++c) sum_of_squares += (values[c] - mean) * (values[c] - mean);
    statistics.mean.push_back(mean);
    statistics.inverse_deviation.push_back(1 /
                                           std::sqrt(sum_of_squares / static_cast<double>(width) + epsilon));
  }
  return statistics;
}

void add_layer_norms(std::vector<Case>& cases, std::int64_t rows, std::int64_t width, const Layout& layout,
                     Values values) {
  const std::string text =
      fmt::format("{}x{}{}{}", rows, width, text_of(layout), values == Values::large ? " far from 0" : "");
  const Shape shape{rows, width};
  for (bool keeps_statistics : {false, true}) {
    cases.push_back({"LayerNorm/" + text + (keeps_statistics ? " kept" : ""), [=](Operands& operands) {
                       ops::LayerNorm op;
                       op.x = operands.input("x", shape, layout, values);
                       op.gain = operands.input("gain", {width});
                       op.bias = operands.input("bias", {width});
                       op.y = operands.output("y", shape, layout);
                       if (keeps_statistics) {
                         op.mean = operands.output("mean", {rows});
                         op.inverse_deviation = operands.output("inverse_deviation", {rows});
                       }
                       return op;
                     }});
    // One value normalized is 0, whatever it was.
    if (width == 1) cases.back().without_influence = {"gain"};
    if (width == 1 && !keeps_statistics) cases.back().without_influence.push_back("x");
  }
  enum class Target { separate, over_d_y, over_residual };
  for (Target target : {Target::separate, Target::over_d_y, Target::over_residual}) {
    for (bool with_residual : {false, true}) {
      if (target == Target::over_residual && !with_residual) continue;
      constexpr const char* kTargets[] = {"", " over d_y", " over residual"};
      cases.push_back(
          {fmt::format("LayerNormGradient/{}{}{}", text, with_residual ? " residual" : "",
                       kTargets[static_cast<int>(target)]),
           [=](Operands& operands) {
             ops::LayerNormGradient op;
             op.x = operands.input("x", shape, layout, values);
             op.gain = operands.input("gain", {width});
             const RowStatistics statistics = statistics_of(operands.values("x"), rows, width, 1e-6);
             op.mean = operands.given("mean", {rows}, statistics.mean);
             op.inverse_deviation = operands.given("inverse_deviation", {rows}, statistics.inverse_deviation);
             if (target == Target::separate) op.d_x = operands.output("d_x", shape, layout);
             if (target != Target::separate) op.d_x = operands.update("d_x", shape, layout);
             op.d_y = target == Target::over_d_y ? op.d_x : operands.input("d_y", shape, layout);
             if (with_residual) {
               op.residual =
                   target == Target::over_residual ? op.d_x : operands.input("residual", shape, layout);
             }
             op.d_gain = operands.update("d_gain", {width});
             op.d_bias = operands.update("d_bias", {width});
             return op;
           }});
      if (width == 1 || rows == 0) cases.back().without_influence = {"gain"};
    }
  }
}

void add_head_norms(std::vector<Case>& cases, const Shape& shape, const Layout& layout, HeadNormKind kind) {
  const bool layer = kind == HeadNormKind::layer;
  const std::string text = fmt::format("{} {}{}", layer ? "layer" : "rms", shape.text(), text_of(layout));
  const bool always_zero = layer && shape[3] == 1;
  cases.push_back({"HeadNorm/" + text, [=](Operands& operands) {
                     return ops::HeadNorm{.x = operands.input("x", shape, layout),
                                          .y = operands.output("y", shape, layout),
                                          .kind = kind};
                   }});
  if (always_zero) cases.back().without_influence = {"x"};
  cases.push_back({"HeadNorm/in place " + text, [=](Operands& operands) {
                     const View y = operands.update("y", shape, layout);
                     return ops::HeadNorm{.x = y, .y = y, .kind = kind, .epsilon = 1e-3f};
                   }});
  if (always_zero) cases.back().without_influence = {"y"};
  cases.push_back({"HeadNormGradient/" + text, [=](Operands& operands) {
                     return ops::HeadNormGradient{.x = operands.input("x", shape, layout),
                                                  .d_y = operands.input("d_y", shape, layout),
                                                  .d_x = operands.output("d_x", shape, layout),
                                                  .kind = kind,
                                                  .epsilon = 1e-3f};
                   }});
  if (always_zero) cases.back().without_influence = {"x", "d_y"};
}

void add_rotations(std::vector<Case>& cases, const Shape& shape, const Layout& layout, bool inverse) {
  const std::string text = fmt::format("{}{}{}", shape.text(), text_of(layout), inverse ? " inverse" : "");
  const auto with_tables = [=](Operands& operands, const View& x, const View& y) {
    const Shape angles{shape[1], shape[3] / 2};
    const auto tables = retention::make_rotation_tables({.position = retention::Position::raster,
                                                         .key_width = shape[3],
                                                         .first_token = 40,
                                                         .tokens = shape[1]});
    return ops::Rotate{.x = x,
                       .cosine = operands.given("cosine", angles, tables.cosine),
                       .sine = operands.given("sine", angles, tables.sine),
                       .y = y,
                       .scale = 0.177f,
                       .inverse = inverse};
  };
  cases.push_back({"Rotate/" + text, [=](Operands& operands) {
                     const View x = operands.input("x", shape, layout);
                     return with_tables(operands, x, operands.output("y", shape, layout));
                   }});
  cases.push_back({"Rotate/in place " + text, [=](Operands& operands) {
                     const View y = operands.update("y", shape, layout);
                     return with_tables(operands, y, y);
                   }});
}

}  // namespace

void add_norm_cases(std::vector<Case>& cases) {
  for (std::int64_t rows : {1, 3, 50}) {
    for (std::int64_t width : {1, 3, 17, 64, 96, 200}) {
      for (const Layout& layout : {kPacked, kGaps})
        add_layer_norms(cases, rows, width, layout, Values::normal);
    }
  }
  add_layer_norms(cases, 5, 96, kPacked, Values::large);
  add_layer_norms(cases, 7, 33, Layout{.reversed = 0}, Values::normal);
  add_layer_norms(cases, 0, 16, kPacked, Values::normal);
  for (const Layout& layout : {kPacked, kGaps, Layout{.reversed = 1}}) {
    for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{1, 3, 2, 3}, Shape{2, 7, 3, 17}, Shape{2, 5, 3, 64},
                               Shape{1, 49, 6, 32}, Shape{0, 5, 3, 16}}) {
      for (HeadNormKind kind : {HeadNormKind::layer, HeadNormKind::rms})
        add_head_norms(cases, shape, layout, kind);
    }
    for (const Shape& shape : {Shape{1, 1, 1, 2}, Shape{2, 7, 3, 6}, Shape{2, 5, 3, 32}, Shape{1, 49, 2, 34},
                               Shape{0, 5, 3, 16}}) {
      for (bool inverse : {false, true}) add_rotations(cases, shape, layout, inverse);
    }
  }
}

}  // namespace vretnet::conformance
