#include "core/model/checkpoint.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "core/base/error.h"
#include "core/model/quantized_file.h"

namespace vretnet::model {
namespace {

constexpr const char* kFormat = "vretnet";
constexpr const char* kVersion = "1";

std::vector<std::int64_t> extents(const Shape& shape) {
  std::vector<std::int64_t> list;
  for (int axis = 0; axis < shape.rank(); ++axis) list.push_back(shape[axis]);
  return list;
}

// Names that stand on one side only, the first few of them.
std::string some(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 3;
  std::string text =
      fmt::format("'{}'", fmt::join(names.begin(), names.begin() + std::min(kShown, names.size()), "', '"));
  if (names.size() > kShown) text += fmt::format(" and {} more", names.size() - kShown);
  return text;
}

void expect_shape(const SafetensorsFile& file, const layers::NamedTensor& tensor) {
  const StoredTensor& stored = file.at(tensor.name);
  if (stored.shape == extents(tensor.shape)) return;
  throw UsageError(fmt::format("{}: '{}' has shape [{}], expected {}", file.path().string(), tensor.name,
                               fmt::join(stored.shape, ", "), tensor.shape.text()));
}

// One tensor of floating-point numbers, into its place in a flat array.
void read_tensor(const SafetensorsFile& file, const layers::NamedTensor& tensor, std::vector<float>& values) {
  const StoredTensor& stored = file.at(tensor.name);
  const std::span<float> part(values.data() + tensor.offset,
                              static_cast<std::size_t>(tensor.shape.elements()));
  switch (stored.type) {
    case StoredType::F64:
    case StoredType::F32:
    case StoredType::F16:
    case StoredType::BF16:
      read_values(stored, part);
      break;
    default:
      throw UsageError(fmt::format("{}: '{}' is {}, expected floating-point numbers", file.path().string(),
                                   tensor.name, type_name(stored.type)));
  }
  const auto broken =
      std::find_if_not(part.begin(), part.end(), [](float value) { return std::isfinite(value); });
  if (broken != part.end()) {
    throw UsageError(fmt::format("{}: '{}' holds {} at element {}, expected finite numbers",
                                 file.path().string(), tensor.name, *broken, broken - part.begin()));
  }
}

}  // namespace

void save_model_file(const std::filesystem::path& path, const Metadata& metadata,
                     const layers::ParameterTable& table, const std::vector<float>& values,
                     const QuantizedParameters& quantized) {
  Metadata all = metadata;
  all["format"] = kFormat;
  all["version"] = kVersion;
  std::vector<TensorToWrite> tensors;
  for (layers::ParameterId id = 0; id < table.parameters(); ++id) {
    if (const auto found = quantized.find(id); found != quantized.end()) {
      append_quantized(found->second, table, id, tensors);
      continue;
    }
    for (const layers::NamedTensor& tensor : table.parts(id)) {
      const std::span<const float> part(values.data() + tensor.offset,
                                        static_cast<std::size_t>(tensor.shape.elements()));
      tensors.push_back({tensor.name, StoredType::F32, extents(tensor.shape), std::as_bytes(part)});
    }
  }
  write_safetensors(path, all, tensors);
}

bool is_our_format(const SafetensorsFile& file) {
  const auto format = file.metadata().find("format");
  if (format == file.metadata().end() || format->second != kFormat) return false;
  const auto version = file.metadata().find("version");
  if (version == file.metadata().end() || version->second != kVersion) {
    throw UsageError(fmt::format("{}: vretnet model file of version '{}', this program reads version '{}'",
                                 file.path().string(),
                                 version == file.metadata().end() ? "none" : version->second, kVersion));
  }
  return true;
}

ModelValues read_model_values(const SafetensorsFile& file, const layers::ParameterTable& table) {
  ModelValues read{.quantized = read_quantized(file, table)};
  std::vector<std::string> scales = scale_names(read.quantized, table);
  std::sort(scales.begin(), scales.end());
  std::vector<std::string> missing, extra;
  for (const layers::NamedTensor& tensor : table.tensors()) {
    if (!file.find(tensor.name)) missing.push_back(tensor.name);
  }
  for (const std::string& name : file.names()) {
    if (!table.find(name) && !std::binary_search(scales.begin(), scales.end(), name)) extra.push_back(name);
  }
  if (!missing.empty()) {
    throw UsageError(fmt::format("{}: {} of the model's {} tensors missing: {}", file.path().string(),
                                 missing.size(), table.tensors().size(), some(missing)));
  }
  if (!extra.empty()) {
    throw UsageError(fmt::format("{}: {} tensors that the model does not have: {}", file.path().string(),
                                 extra.size(), some(extra)));
  }

  // All shapes before the memory: what the file says of the model may be a lie, what it holds is of its own
  // size.
  for (const layers::NamedTensor& tensor : table.tensors()) expect_shape(file, tensor);
  read.values.assign(static_cast<std::size_t>(table.elements()), 0.0f);
  for (layers::ParameterId id = 0; id < table.parameters(); ++id) {
    if (read.quantized.contains(id)) continue;
    for (const layers::NamedTensor& tensor : table.parts(id)) read_tensor(file, tensor, read.values);
  }
  dequantize(read.quantized, table, read.values);
  return read;
}

}  // namespace vretnet::model
