// Model configs as JSON, for checkpoints.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "core/base/did_you_mean.h"
#include "core/base/error.h"
#include "vision/config_fields.h"

namespace vretnet::vision {
namespace {

using Json = nlohmann::ordered_json;

// Keys that few models need: other readers of RetNet checkpoints need not know them.
bool optional_key(std::string_view key) {
  return key == "mixer" || key == "class_token" || key == "layer_scale" || key == "base_grid" ||
         key == "learned_decay";
}

template <class Enum>
Json json_of(Enum value) requires std::is_enum_v<Enum> {
  return name_of_choice(value);
}
Json json_of(const std::array<std::int64_t, 2>& value) {
  return Json::array({value[0], value[1]});
}
template <class Value>
Json json_of(const Value& value) requires(!std::is_enum_v<Value>) {
  return value;
}

// One reader a type; `where` is "model.safetensors: model: width".
class Reader {
 public:
  explicit Reader(const std::string& where) : where_(where) {}

  void read(const Json& json, std::string& value) const { value = text(json); }
  void read(const Json& json, std::int64_t& value) const { value = whole_number(json); }
  void read(const Json& json, double& value) const {
    if (!json.is_number()) refuse(json, "a number");
    value = json.get<double>();
  }
  void read(const Json& json, bool& value) const {
    if (!json.is_boolean()) refuse(json, "true or false");
    value = json.get<bool>();
  }
  void read(const Json& json, std::array<std::int64_t, 2>& value) const {
    if (!json.is_array() || json.size() != 2) refuse(json, "[height, width]");
    value = {whole_number(json[0]), whole_number(json[1])};
  }
  template <class Enum>
  void read(const Json& json, Enum& value) const requires std::is_enum_v<Enum> {
    value = parse_choice<Enum>(text(json), where_);
  }

 private:
  [[noreturn]] void refuse(const Json& json, const char* expected) const {
    constexpr std::size_t kShown = 60;
    std::string found = json.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
    if (found.size() > kShown) found = found.substr(0, kShown) + "…";
    throw UsageError(fmt::format("{} is {}, expected {}", where_, found, expected));
  }
  std::string text(const Json& json) const {
    if (!json.is_string()) refuse(json, "text");
    return json.get<std::string>();
  }
  std::int64_t whole_number(const Json& json) const {
    if (!json.is_number_integer() || (json.is_number_unsigned() && json.get<std::uint64_t>() > INT64_MAX)) {
      refuse(json, "a whole number");
    }
    return json.get<std::int64_t>();
  }

  const std::string& where_;
};

}  // namespace

std::string to_json(const ModelConfig& config) {
  Json json;
  visit_fields(config, [&](const char* key, const auto& value) { json[key] = json_of(value); });
  const ModelConfig defaults;
  visit_fields(defaults, [&](const char* key, const auto& value) {
    if (optional_key(key) && json[key] == json_of(value)) json.erase(key);
  });
  return json.dump();
}

ModelConfig parse_model_config(std::string_view text, const std::string& where) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw UsageError(where + ": not a JSON object");
  ModelConfig config;
  std::set<std::string> known;
  visit_fields(config, [&](const char* key, auto& value) {
    known.insert(key);
    const auto found = json.find(key);
    if (found != json.end()) {
      const std::string place = where + ": " + key;
      Reader(place).read(*found, value);
    } else if (!optional_key(key)) {
      throw UsageError(fmt::format("{}: {} is missing", where, key));
    }
  });
  for (const auto& [key, value] : json.items()) {
    if (known.contains(key)) continue;
    throw UsageError(fmt::format("{}: unknown key '{}'.{}", where, key, did_you_mean(key, config_keys())));
  }
  validate(config, where);
  return config;
}

}  // namespace vretnet::vision
