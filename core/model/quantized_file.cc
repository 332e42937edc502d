#include "core/model/quantized_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/base/error.h"

namespace vretnet::model {
namespace {

using layers::NamedTensor;

std::string weight_scale_name(const NamedTensor& tensor) {
  return tensor.name + "_scale";
}
std::string input_scale_name(const NamedTensor& tensor) {
  return tensor.name.substr(0, tensor.name.rfind('.')) + ".input_scale";
}

// F32 numbers of this shape, each normal and above 0.
std::vector<float> read_scales(const SafetensorsFile& file, const std::string& name, std::int64_t count) {
  const std::string where = file.path().string();
  const StoredTensor* stored = file.find(name);
  if (!stored) throw UsageError(fmt::format("{}: '{}' is missing beside its I8 weight", where, name));
  if (stored->type != StoredType::F32 || stored->shape != std::vector<std::int64_t>{count}) {
    throw UsageError(fmt::format("{}: '{}' is {} [{}], expected F32 [{}]", where, name,
                                 type_name(stored->type), fmt::join(stored->shape, ", "), count));
  }
  std::vector<float> scales(static_cast<std::size_t>(count));
  read_values(*stored, std::span(scales));
  for (std::size_t i = 0; i < scales.size(); ++i) {
    if (!(std::isnormal(scales[i]) && scales[i] > 0)) {
      throw UsageError(fmt::format("{}: '{}' holds {} at element {}, expected a normal number above 0", where,
                                   name, scales[i], i));
    }
  }
  return scales;
}

void expect_integers(const SafetensorsFile& file, const NamedTensor& tensor) {
  const StoredTensor* stored = file.find(tensor.name);
  const std::vector<std::int64_t> shape{tensor.shape[0], tensor.shape[1]};
  if (!stored || stored->type != StoredType::I8) {
    throw UsageError(fmt::format("{}: '{}' is {}, expected I8 as its scales and neighbours say",
                                 file.path().string(), tensor.name,
                                 stored ? type_name(stored->type) : "missing"));
  }
  if (stored->shape != shape) {
    throw UsageError(fmt::format("{}: '{}' has shape [{}], expected {}", file.path().string(), tensor.name,
                                 fmt::join(stored->shape, ", "), tensor.shape.text()));
  }
}

// The largest sum that the layer can make is a finite number.
void expect_finite_outputs(const SafetensorsFile& file, const NamedTensor& tensor,
                           const QuantizedParameter& parameter) {
  const double largest = *std::max_element(parameter.weight_scale.begin(), parameter.weight_scale.end());
  const double sum =
      largest * static_cast<double>(parameter.input_scale) * 127 * 128 * static_cast<double>(tensor.shape[1]);
  if (sum < static_cast<double>(std::numeric_limits<float>::max())) return;
  throw UsageError(fmt::format(
      "{}: '{}' {} and '{}' {} make outputs of up to {:.3g}, which f32 does not hold", file.path().string(),
      weight_scale_name(tensor), largest, input_scale_name(tensor), parameter.input_scale, sum));
}

QuantizedParameter read_parameter(const SafetensorsFile& file, std::span<const NamedTensor> parts) {
  QuantizedParameter parameter;
  for (const NamedTensor& tensor : parts) {
    expect_integers(file, tensor);
    const std::span<const std::byte> bytes = file.at(tensor.name).bytes;
    const std::size_t begin = parameter.weight.size();
    parameter.weight.resize(begin + bytes.size());
    std::memcpy(parameter.weight.data() + begin, bytes.data(), bytes.size());
    const std::vector<float> scales = read_scales(file, weight_scale_name(tensor), tensor.shape[0]);
    parameter.weight_scale.insert(parameter.weight_scale.end(), scales.begin(), scales.end());
    const float input_scale = read_scales(file, input_scale_name(tensor), 1).front();
    if (&tensor == &parts.front()) parameter.input_scale = input_scale;
    if (input_scale != parameter.input_scale) {
      throw UsageError(fmt::format("{}: '{}' is {}, expected {} as in '{}': they read the same input",
                                   file.path().string(), input_scale_name(tensor), input_scale,
                                   parameter.input_scale, input_scale_name(parts.front())));
    }
  }
  expect_finite_outputs(file, parts.front(), parameter);
  return parameter;
}

}  // namespace

QuantizedParameters read_quantized(const SafetensorsFile& file, const layers::ParameterTable& table) {
  QuantizedParameters parameters;
  for (layers::ParameterId id = 0; id < table.parameters(); ++id) {
    const std::span<const NamedTensor> parts = table.parts(id);
    const auto is_integers = [&](const NamedTensor& tensor) {
      const StoredTensor* stored = file.find(tensor.name);
      return stored && stored->type == StoredType::I8;
    };
    const auto has_scale = [&](const NamedTensor& tensor) {
      return file.find(weight_scale_name(tensor)) != nullptr;
    };
    const bool integers = std::any_of(parts.begin(), parts.end(), is_integers);
    if (is_quantizable(table, id)) {
      if (!integers && std::none_of(parts.begin(), parts.end(), has_scale)) continue;
      parameters.emplace(id, read_parameter(file, parts));
    } else if (integers) {
      throw UsageError(fmt::format("{}: '{}' is I8, expected floating-point numbers", file.path().string(),
                                   parts.front().name));
    }
  }
  return parameters;
}

std::vector<std::string> scale_names(const QuantizedParameters& parameters,
                                     const layers::ParameterTable& table) {
  std::vector<std::string> names;
  for (const auto& [id, parameter] : parameters) {
    for (const NamedTensor& tensor : table.parts(id)) {
      names.push_back(weight_scale_name(tensor));
      names.push_back(input_scale_name(tensor));
    }
  }
  return names;
}

void append_quantized(const QuantizedParameter& parameter, const layers::ParameterTable& table,
                      layers::ParameterId id, std::vector<TensorToWrite>& tensors) {
  std::span<const std::int8_t> weight(parameter.weight);
  std::span<const float> weight_scale(parameter.weight_scale);
  for (const NamedTensor& tensor : table.parts(id)) {
    const auto rows = static_cast<std::size_t>(tensor.shape[0]);
    const auto elements = static_cast<std::size_t>(tensor.shape.elements());
    tensors.push_back({tensor.name,
                       StoredType::I8,
                       {tensor.shape[0], tensor.shape[1]},
                       std::as_bytes(weight.first(elements))});
    tensors.push_back({weight_scale_name(tensor),
                       StoredType::F32,
                       {tensor.shape[0]},
                       std::as_bytes(weight_scale.first(rows))});
    tensors.push_back({input_scale_name(tensor),
                       StoredType::F32,
                       {1},
                       std::as_bytes(std::span(&parameter.input_scale, 1))});
    weight = weight.subspan(elements);
    weight_scale = weight_scale.subspan(rows);
  }
}

}  // namespace vretnet::model
