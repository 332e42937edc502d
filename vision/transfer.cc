#include "vision/transfer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/base/error.h"
#include "core/model/weights.h"
#include "vision/image/filter.h"

namespace vretnet::vision {
namespace {

using layers::NamedTensor;

// [length, inner] of each of `outer` blocks → [new_length, inner]: one pass of a separable resize.
std::vector<double> resample_axis(const std::vector<double>& in, std::int64_t outer, std::int64_t length,
                                  std::int64_t inner, std::int64_t new_length) {
  std::vector<double> out(static_cast<std::size_t>(outer * new_length * inner), 0.0);
  FilterTaps taps;
  for (std::int64_t i = 0; i < new_length; ++i) {
    make_filter_taps(Interpolation::Bicubic, static_cast<int>(length), 0,
                     static_cast<double>(length) / static_cast<double>(new_length), static_cast<int>(i),
                     taps);
    for (std::int64_t block = 0; block < outer; ++block) {
      double* target = out.data() + (block * new_length + i) * inner;
      for (std::size_t t = 0; t < taps.weights.size(); ++t) {
        const double* source =
            in.data() + (block * length + taps.first + static_cast<std::int64_t>(t)) * inner;
        for (std::int64_t c = 0; c < inner; ++c) target[c] += taps.weights[t] * source[c];
      }
    }
  }
  return out;
}

Grid grid_of(const ModelConfig& config) {
  return {config.rows(), config.columns()};
}

}  // namespace

std::vector<float> resample_positions(const std::vector<float>& positions, std::int64_t prefix,
                                      const Grid& from, const Grid& to) {
  if (from == to) return positions;
  const std::int64_t width =
      static_cast<std::int64_t>(positions.size()) / (prefix + from.rows * from.columns);
  const auto grid_begin = positions.begin() + prefix * width;
  std::vector<double> grid(grid_begin, positions.end());
  grid = resample_axis(grid, from.rows, from.columns, width, to.columns);
  grid = resample_axis(grid, 1, from.rows, to.columns * width, to.rows);
  std::vector<float> result(positions.begin(), grid_begin);
  result.insert(result.end(), grid.begin(), grid.end());
  return result;
}

void keep_base_grid(ModelConfig& config, const ModelConfig& from) {
  if (config.mixer != MixerKind::retention || config.base_grid[0] != 0) return;
  if (from.base_grid[0] != 0) {
    config.base_grid = from.base_grid;
  } else if (!(grid_of(config) == grid_of(from))) {
    config.base_grid = {from.rows(), from.columns()};
  }
}

StartValues start_values(const Classifier& file, const VisionModel& model, std::uint64_t seed) {
  const std::vector<double> first = model::initial_values(model.parameters(), seed);
  StartValues start{{first.begin(), first.end()}};
  const Grid from = grid_of(file.model->config()), to = grid_of(model.config());
  for (const NamedTensor& tensor : model.parameters().tensors()) {
    const NamedTensor* source = file.model->parameters().find(tensor.name);
    if (!source && tensor.initial.kind == layers::Initial::given) {  // decays that are learned from here on
      start.new_decays = true;
      continue;
    }
    std::vector<float> values;
    if (source) {
      const auto begin = file.values.begin() + source->offset;
      values.assign(begin, begin + source->shape.elements());
    }
    if (source && tensor.name == "pos_embed" && source->shape[2] == tensor.shape[2] && !(from == to)) {
      values = resample_positions(values, tensor.shape[1] - to.rows * to.columns, from, to);
      start.resampled = true;
    } else if (!source || !(source->shape == tensor.shape)) {
      if (!tensor.name.starts_with("head.")) {
        throw UsageError(fmt::format("'{}' is {}, the changed model needs {}", tensor.name,
                                     source ? source->shape.text() : "missing", tensor.shape.text()));
      }
      start.new_head = true;
      continue;
    }
    std::copy(values.begin(), values.end(), start.values.begin() + tensor.offset);
  }
  for (const NamedTensor& tensor : file.model->parameters().tensors()) {
    if (model.parameters().find(tensor.name) || tensor.name.starts_with("head.")) continue;
    throw UsageError(fmt::format("'{}' is {}, the changed model has none: what was learned would be lost",
                                 tensor.name, tensor.shape.text()));
  }
  return start;
}

Classifier at_image_size(Classifier classifier, const ModelConfig& config) {
  Classifier result;
  result.description = classifier.description;
  result.description.config = config;
  result.description.preprocessing.height = static_cast<int>(config.image_size[0]);
  result.description.preprocessing.width = static_cast<int>(config.image_size[1]);
  result.model = make_model(config);
  result.quantized = classifier.quantized;  // of parameters that no image size changes
  if (result.description.config.learned_position) {
    result.values = start_values(classifier, *result.model, 0).values;
  } else {
    result.values = std::move(classifier.values);
  }
  return result;
}

}  // namespace vretnet::vision
