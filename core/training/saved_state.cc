#include "core/training/saved_state.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "core/base/error.h"
#include "core/model/weights.h"

namespace vretnet::training {
namespace {

constexpr const char* kFormat = "vretnet-state";
constexpr const char* kVersion = "1";

struct NamedArray {
  const char* name;
  View view;
};

// In the order in which they are written.
std::vector<NamedArray> arrays_of(const Trainer& trainer) {
  std::vector<NamedArray> arrays{{"weights", trainer.weights()},
                                 {"first_moment", trainer.optimizer().first_moment()},
                                 {"second_moment", trainer.optimizer().second_moment()}};
  if (trainer.optimizer().average()) arrays.push_back({"average", trainer.optimizer().average()});
  return arrays;
}

nlohmann::json to_json(const Position& position) {
  return {{"epoch", position.epoch},       {"batch", position.batch},   {"step", position.step},
          {"loss_sum", position.loss_sum}, {"images", position.images}, {"correct", position.correct}};
}

Position parse_position(const std::filesystem::path& path, const model::Metadata& metadata) {
  try {
    const nlohmann::json json = nlohmann::json::parse(metadata.at("position"));
    Position position;
    json.at("epoch").get_to(position.epoch);
    json.at("batch").get_to(position.batch);
    json.at("step").get_to(position.step);
    json.at("loss_sum").get_to(position.loss_sum);
    json.at("images").get_to(position.images);
    json.at("correct").get_to(position.correct);
    return position;
  } catch (const std::exception& error) {
    throw UsageError(
        fmt::format("{}: the position of the run cannot be read: {}", path.string(), error.what()));
  }
}

model::SafetensorsFile open_state(const std::filesystem::path& path) {
  model::SafetensorsFile file(path);
  const auto value = [&](const char* key) {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? std::string("none") : found->second;
  };
  if (value("format") != kFormat || value("version") != kVersion) {
    throw UsageError(
        fmt::format("{}: not a saved training state: format '{}' version '{}', expected '{}' version '{}'",
                    path.string(), value("format"), value("version"), kFormat, kVersion));
  }
  return file;
}

}  // namespace

void save_state(const std::filesystem::path& path, Backend& backend, const Trainer& trainer,
                const model::Metadata& extra) {
  model::Metadata metadata = extra;
  metadata["format"] = kFormat;
  metadata["version"] = kVersion;
  metadata["position"] = to_json(trainer.position()).dump();
  const std::vector<NamedArray> arrays = arrays_of(trainer);
  std::vector<std::vector<float>> host;
  std::vector<model::TensorToWrite> tensors;
  host.reserve(arrays.size());
  for (const NamedArray& array : arrays) {
    const auto& values = host.emplace_back(model::download_values<float>(backend, array.view));
    tensors.push_back(
        {array.name, model::StoredType::F32, {array.view.elements()}, std::as_bytes(std::span(values))});
  }
  model::write_safetensors(path, metadata, tensors);
}

model::Metadata load_state(const std::filesystem::path& path, Backend& backend, Trainer& trainer) {
  const model::SafetensorsFile file = open_state(path);
  const Position position = parse_position(path, file.metadata());
  const std::int64_t steps = trainer.total_steps();
  if (position.epoch < 0 || position.batch < 0 || position.step < 0 || position.step > steps ||
      position.images < 0) {
    throw UsageError(fmt::format("{}: stands at epoch {}, batch {}, step {}, outside a run of {} steps",
                                 path.string(), position.epoch, position.batch, position.step, steps));
  }
  const std::vector<NamedArray> arrays = arrays_of(trainer);
  if (file.names().size() != arrays.size()) {
    throw UsageError(fmt::format("{}: holds {} arrays, expected {} (was --ema switched?)", path.string(),
                                 file.names().size(), arrays.size()));
  }
  for (const NamedArray& array : arrays) {
    const model::StoredTensor& stored = file.at(array.name);
    if (stored.type != model::StoredType::F32 ||
        stored.shape != std::vector<std::int64_t>{array.view.elements()}) {
      throw UsageError(fmt::format("{}: '{}' holds {} numbers of {}, expected {} of F32: another model?",
                                   path.string(), array.name, stored.elements(),
                                   model::type_name(stored.type), array.view.elements()));
    }
    std::vector<float> values(stored.elements());
    model::read_values(stored, std::span(values));
    model::upload_values(backend, array.view, values);
  }
  trainer.start_at(position);
  return file.metadata();
}

model::Metadata read_state_metadata(const std::filesystem::path& path) {
  return open_state(path).metadata();
}

}  // namespace vretnet::training
