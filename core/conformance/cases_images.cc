#include "core/conformance/cases.h"

namespace vretnet::conformance {
namespace {

using ops::Padding;
using ops::Write;

struct Image {
  std::int64_t batch, height, width, channels;
  Shape shape() const { return {batch, height, width, channels}; }
};

struct Window {
  Image image;
  std::int64_t outputs, kernel, stride;
  Padding padding;

  Shape weight() const { return {outputs, image.channels, kernel, kernel}; }
  Shape depthwise_weight() const { return {image.channels, 1, kernel, kernel}; }
  Shape output() const {
    return {image.batch, (image.height + padding.top + padding.bottom - kernel) / stride + 1,
            (image.width + padding.left + padding.right - kernel) / stride + 1, outputs};
  }
  std::string text() const {
    return fmt::format("{} to {} kernel {} stride {} padding {}{}{}{}", image.shape().text(), outputs, kernel,
                       stride, padding.top, padding.bottom, padding.left, padding.right);
  }
};

// Every pixel is under some kernel, and every kernel element over some pixel.
const Window kWindows[] = {
    {{1, 1, 1, 1}, 1, 1, 1, {}},
    {{1, 5, 5, 3}, 4, 3, 2, {1, 1, 1, 1}},
    {{2, 8, 6, 16}, 17, 3, 2, {1, 0, 1, 0}},
    {{2, 8, 8, 3}, 24, 4, 4, {}},
    {{1, 7, 9, 5}, 8, 3, 1, {1, 1, 1, 1}},
    {{3, 6, 4, 33}, 16, 1, 1, {}},
    {{1, 3, 5, 2}, 3, 3, 1, {2, 0, 1, 1}},
    {{0, 8, 8, 3}, 8, 3, 2, {1, 1, 1, 1}},
};

void add_convolutions(std::vector<Case>& cases, const Window& window, const Layout& layout, bool with_bias) {
  const std::string text = window.text() + text_of(layout) + (with_bias ? " bias" : "");
  cases.push_back({"Convolution/" + text, [=](Operands& operands) {
                     ops::Convolution op;
                     op.x = operands.input("x", window.image.shape(), layout);
                     op.weight = operands.input("weight", window.weight());
                     if (with_bias) op.bias = operands.input("bias", {window.outputs});
                     op.y = operands.output("y", window.output(), layout);
                     op.stride = window.stride;
                     op.padding = window.padding;
                     return op;
                   }});
  cases.push_back({"ConvolutionWeightGradient/" + text, [=](Operands& operands) {
                     ops::ConvolutionWeightGradient op;
                     op.x = operands.input("x", window.image.shape(), layout);
                     op.d_y = operands.input("d_y", window.output(), layout);
                     op.d_weight = operands.update("d_weight", window.weight());
                     if (with_bias) op.d_bias = operands.update("d_bias", {window.outputs});
                     op.stride = window.stride;
                     op.padding = window.padding;
                     return op;
                   }});
  if (with_bias) return;
  cases.push_back({"ConvolutionInputGradient/" + text, [=](Operands& operands) {
                     ops::ConvolutionInputGradient op;
                     op.weight = operands.input("weight", window.weight());
                     op.d_y = operands.input("d_y", window.output(), layout);
                     op.d_x = operands.output("d_x", window.image.shape(), layout);
                     op.stride = window.stride;
                     op.padding = window.padding;
                     return op;
                   }});
}

// Depthwise windows keep the number of channels.
Window depthwise(const Image& image, std::int64_t kernel, const Padding& padding) {
  return {image, image.channels, kernel, 1, padding};
}
const Window kDepthwiseWindows[] = {
    depthwise({1, 2, 2, 1}, 3, {1, 1, 1, 1}),   depthwise({2, 7, 5, 17}, 3, {1, 1, 1, 1}),
    depthwise({1, 4, 4, 32}, 3, {2, 0, 1, 1}),  depthwise({2, 7, 7, 96}, 3, {1, 1, 1, 1}),
    depthwise({1, 14, 3, 48}, 3, {2, 0, 1, 1}), depthwise({1, 6, 7, 9}, 5, {2, 2, 2, 2}),
    depthwise({1, 5, 4, 20}, 3, {0, 0, 1, 1}),  depthwise({0, 4, 4, 16}, 3, {1, 1, 1, 1}),
    depthwise({2, 9, 1, 20}, 1, {0, 0, 0, 0}),  // a factor for each channel
};

void add_depthwise(std::vector<Case>& cases, const Window& window, const Layout& layout, bool with_bias,
                   bool with_residual, Write write) {
  const std::string text = fmt::format("{}{}{}{}{}", window.text(), text_of(layout), with_bias ? " bias" : "",
                                       with_residual ? " residual" : "", text_of(write));
  cases.push_back({"Depthwise/" + text, [=](Operands& operands) {
                     ops::Depthwise op;
                     op.x = operands.input("x", window.image.shape(), layout);
                     op.weight = operands.input("weight", window.depthwise_weight());
                     if (with_bias) op.bias = operands.input("bias", {window.image.channels});
                     if (with_residual) op.residual = operands.input("residual", window.output(), layout);
                     op.y = written(operands, "y", window.output(), layout, write);
                     op.padding = window.padding;
                     op.write = write;
                     return op;
                   }});
  if (!with_bias) {
    cases.push_back({"DepthwiseInputGradient/" + text, [=](Operands& operands) {
                       ops::DepthwiseInputGradient op;
                       op.weight = operands.input("weight", window.depthwise_weight());
                       op.d_y = operands.input("d_y", window.output(), layout);
                       if (with_residual)
                         op.residual = operands.input("residual", window.image.shape(), layout);
                       op.d_x = written(operands, "d_x", window.image.shape(), layout, write);
                       op.padding = window.padding;
                       op.write = write;
                       return op;
                     }});
  }
  if (with_residual || write == Write::accumulate) return;
  cases.push_back({"DepthwiseWeightGradient/" + text, [=](Operands& operands) {
                     ops::DepthwiseWeightGradient op;
                     op.x = operands.input("x", window.image.shape(), layout);
                     op.d_y = operands.input("d_y", window.output(), layout);
                     op.d_weight = operands.update("d_weight", window.depthwise_weight());
                     if (with_bias) op.d_bias = operands.update("d_bias", {window.image.channels});
                     op.padding = window.padding;
                     return op;
                   }});
}

void add_patches(std::vector<Case>& cases, const Image& image, std::int64_t patch, const Layout& layout) {
  cases.push_back(
      {fmt::format("Patches/{} by {}{}", image.shape().text(), patch, text_of(layout)),
       [=](Operands& operands) {
         const std::int64_t tokens = image.height / patch * (image.width / patch);
         return ops::Patches{
             .x = operands.input("x", image.shape(), layout),
             .y = operands.output("y", {image.batch, tokens, image.channels * patch * patch}, layout),
             .patch = patch};
       }});
}

}  // namespace

void add_image_cases(std::vector<Case>& cases) {
  for (const Layout& layout : {kPacked, kGaps}) {
    for (const Window& window : kWindows) {
      for (bool with_bias : {false, true}) add_convolutions(cases, window, layout, with_bias);
    }
    for (const Window& window : kDepthwiseWindows) {
      for (bool with_bias : {false, true}) {
        for (bool with_residual : {false, true}) {
          for (Write write : kWrites) add_depthwise(cases, window, layout, with_bias, with_residual, write);
        }
      }
    }
    add_patches(cases, {1, 1, 1, 1}, 1, layout);
    add_patches(cases, {2, 8, 12, 3}, 4, layout);
    add_patches(cases, {1, 28, 28, 1}, 4, layout);
    add_patches(cases, {1, 32, 16, 3}, 16, layout);
    add_patches(cases, {3, 6, 10, 5}, 2, layout);
    add_patches(cases, {0, 8, 8, 3}, 4, layout);
  }
  add_patches(cases, {2, 8, 8, 3}, 4, Layout{.reversed = 1});
}

}  // namespace vretnet::conformance
