// The numbers of the goldens (README.md): weights, images and labels that a golden names but does not store.
// golden_random.py is the same in Python; golden_random_test.cc holds the two together.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/random.h"

namespace vretnet::goldens {

// The first step of a path: Random(seed, {purpose, number}).
enum class Purpose : std::uint64_t { parameters, images, labels, tensors };

inline Random golden_stream(std::uint64_t seed, Purpose purpose, std::uint64_t number) {
  return Random(seed, {static_cast<std::uint64_t>(purpose), number});
}

// One draw per element in row-major order, rounded to float so that float and double models start alike.
template <typename Real>
void fill_uniform(Random random, double low, double high, std::span<Real> values) {
  for (Real& value : values) value = static_cast<Real>(static_cast<float>(random.uniform(low, high)));
}

// [low, high) of a parameter, by its name and its shape alone.
inline std::pair<double, double> parameter_range(std::string_view name, std::span<const std::int64_t> shape) {
  if (name == "pos_embed" || name == "cls_token") return {-0.2, 0.2};
  if (shape.size() >= 2) {
    double fan_in = 1;
    for (const std::int64_t extent : shape.subspan(1)) fan_in *= static_cast<double>(extent);
    const double amplitude = 0.5 * std::sqrt(3.0 / fan_in);
    return {-amplitude, amplitude};
  }
  if (name.ends_with(".weight")) return {0.9, 1.1};
  if (name.ends_with(".decay")) return {-3, -1};
  return {-0.1, 0.1};
}

// `number` is the parameter's place among the model's names sorted by bytes; `shape` as in a checkpoint
// (pos_embed [1, tokens, width]).
template <typename Real>
void fill_parameter(std::uint64_t seed, std::uint64_t number, std::string_view name,
                    std::span<const std::int64_t> shape, std::span<Real> values) {
  const auto [low, high] = parameter_range(name, shape);
  fill_uniform(golden_stream(seed, Purpose::parameters, number), low, high, values);
}

// The images of a training step, [batch, height, width, channels], as if normalised already.
template <typename Real>
void fill_images(std::uint64_t seed, std::uint64_t step, std::span<Real> values) {
  fill_uniform(golden_stream(seed, Purpose::images, step), -1.5, 1.5, values);
}

inline std::vector<std::int64_t> make_labels(std::uint64_t seed, std::uint64_t step, std::int64_t batch,
                                             std::int64_t classes) {
  Random random = golden_stream(seed, Purpose::labels, step);
  std::vector<std::int64_t> labels(static_cast<std::size_t>(batch));
  for (std::int64_t& label : labels) {
    label = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(classes)));
  }
  return labels;
}

// Any other input of a golden.
template <typename Real>
void fill_tensor(std::uint64_t seed, std::uint64_t number, std::span<Real> values) {
  fill_uniform(golden_stream(seed, Purpose::tensors, number), -1.0, 1.0, values);
}

}  // namespace vretnet::goldens
