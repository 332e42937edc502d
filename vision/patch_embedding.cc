#include "vision/patch_embedding.h"

#include <fmt/format.h>

#include <utility>

#include "core/layers/depthwise_convolution.h"

namespace vretnet::vision {
namespace {

using layers::Linear;
using layers::LinearStart;
using layers::Norm;
using layers::ParameterTable;
using layers::Pass;

constexpr std::int64_t kKernel = 3, kStride = 2;
constexpr ops::Padding kWholePadding{.top = 1, .left = 1};  // sides are even: nothing is read below or right
constexpr ops::Padding kStreamedPadding{.left = 1};         // the row above is carried

// Says where the tokens of a whole image lie; a stream's caller knows better than we do.
void place_tokens(Pass& pass, std::int64_t rows, std::int64_t columns) {
  if (!pass.place().streaming) pass.place() = {.height = rows, .width = columns};
}

std::vector<std::int64_t> stage_widths(const ModelConfig& config) {
  std::vector<std::int64_t> widths{config.in_chans};
  for (std::int64_t stage = 0; stage < config.stem_stages(); ++stage)
    widths.push_back(config.stem_width(stage));
  return widths;
}

}  // namespace

std::unique_ptr<PatchEmbedding> make_patch_embedding(ParameterTable& table, const ModelConfig& config) {
  if (config.stem == Stem::conv) return std::make_unique<ConvStem>(table, config);
  return std::make_unique<LinearPatches>(table, config);
}

// ------------------------------------------------------------------------------------------- linear patches

LinearPatches::LinearPatches(ParameterTable& table, const ModelConfig& config)
    : patch_(config.patch_size),
      width_(config.width),
      projection_(table, "patch_embed.proj", config.in_chans, config.width, LinearStart::fan_in,
                  config.patch_size) {}

Tensor LinearPatches::patches(Pass& pass, const View& images) const {
  const std::int64_t rows = images.extent(1) / patch_, columns = images.extent(2) / patch_;
  Tensor patches = pass.make({images.extent(0), rows * columns, images.extent(3) * patch_ * patch_});
  pass.run(ops::Patches{.x = images, .y = patches, .patch = patch_});
  return patches;
}

Tensor LinearPatches::forward(Pass& pass, const View& images) const {
  place_tokens(pass, images.extent(1) / patch_, images.extent(2) / patch_);
  const Tensor rows = patches(pass, images);
  Tensor tokens = pass.make({images.extent(0), rows.view().extent(1), width_});
  projection_.forward(pass, rows, tokens);
  pass.save(images);
  return tokens;
}

void LinearPatches::backward(Pass& pass, Tensor d_tokens) const {
  const Tensor images = pass.take();
  projection_.weight_gradient(pass, patches(pass, images), d_tokens);
}

// ------------------------------------------------------------------------------------------------ conv stem

ConvStem::ConvStem(ParameterTable& table, const ModelConfig& config)
    : width_(config.width),
      stages_([&] {
        std::vector<Stage> stages;
        const std::vector<std::int64_t> widths = stage_widths(config);
        for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
          const std::string name = fmt::format("patch_embed.stem.{}", i);
          const std::int64_t in = widths[i], out = widths[i + 1];
          const layers::ParameterId weight = table.add({name + ".conv.weight",
                                                        {out, in, kKernel, kKernel},
                                                        layers::uniform_by_fan_in(in * kKernel * kKernel)});
          stages.push_back({weight, Norm(table, name + ".norm", out, config.norm_epsilon), out});
        }
        return stages;
      }()),
      projection_(table, "patch_embed.proj", config.width, config.width, LinearStart::fan_in, /*kernel=*/1) {}

Tensor ConvStem::forward_stage(Pass& pass, int index, const Tensor& x) const {
  const Stage& stage = stages_[index];
  const View& input = x;
  Tensor convolved =
      pass.make({input.extent(0), input.extent(1) / kStride, input.extent(2) / kStride, stage.channels});
  ops::Convolution convolution{.x = input,
                               .weight = pass.weight(stage.weight),
                               .y = convolved,
                               .stride = kStride,
                               .padding = kWholePadding};
  if (pass.place().streaming) {
    const Tensor rows = layers::below_carried_rows(pass, this, index, input, 1);
    convolution.x = rows;
    convolution.padding = kStreamedPadding;
    pass.run(convolution);
  } else {
    pass.run(convolution);
  }
  pass.save(x);
  Norm::Kept kept;
  const Tensor normed = stage.norm.forward(pass, convolved, kept);
  convolved = {};
  Norm::save(pass, std::move(kept));
  Tensor y = pass.make(normed.view().shape());
  pass.run(ops::Activation{.x = normed, .y = y, .kind = ops::ActivationKind::gelu});
  return y;
}

Tensor ConvStem::backward_stage(Pass& pass, int index, Tensor d_y, bool wants_d_x) const {
  const Stage& stage = stages_[index];
  const Norm::Kept kept = Norm::take(pass);
  const Tensor x = pass.take();
  pass.run(ops::ActivationGradient{
      .x = stage.norm.again(pass, kept), .d_y = d_y, .d_x = d_y, .kind = ops::ActivationKind::gelu});
  const Tensor d_convolved = stage.norm.backward(pass, kept, std::move(d_y), View());
  pass.run(ops::ConvolutionWeightGradient{.x = x,
                                          .d_y = d_convolved,
                                          .d_weight = pass.gradient(stage.weight),
                                          .stride = kStride,
                                          .padding = kWholePadding});
  if (!wants_d_x) return {};
  Tensor d_x = pass.make(x.view().shape());
  pass.run(ops::ConvolutionInputGradient{.weight = pass.weight(stage.weight),
                                         .d_y = d_convolved,
                                         .d_x = d_x,
                                         .stride = kStride,
                                         .padding = kWholePadding});
  return d_x;
}

Tensor ConvStem::forward(Pass& pass, const View& images) const {
  Tensor x = images;
  for (int index = 0; index < static_cast<int>(stages_.size()); ++index) x = forward_stage(pass, index, x);
  const View grid = x;  // [batch, rows, columns, D]
  place_tokens(pass, grid.extent(1), grid.extent(2));
  Tensor tokens = pass.make({grid.extent(0), grid.extent(1) * grid.extent(2), width_});
  projection_.forward(pass, grid, tokens);
  pass.save(std::move(x));
  return tokens;
}

void ConvStem::backward(Pass& pass, Tensor d_tokens) const {
  Tensor grid = pass.take();
  projection_.weight_gradient(pass, grid, d_tokens);
  Tensor d_x = std::move(grid);
  projection_.input_gradient(pass, d_tokens, d_x);
  d_tokens = {};
  for (int index = static_cast<int>(stages_.size()) - 1; index >= 0; --index) {
    d_x = backward_stage(pass, index, std::move(d_x), index > 0);
  }
}

}  // namespace vretnet::vision
