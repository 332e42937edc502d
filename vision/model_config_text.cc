// Single values of a model config as text, for command lines.
#include <fmt/format.h>

#include <charconv>

#include "core/base/did_you_mean.h"
#include "core/base/error.h"
#include "vision/config_fields.h"

namespace vretnet::vision {
namespace {

template <class Number>
Number parse_number(std::string_view text, const std::string& where, const char* expected) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw UsageError(fmt::format("{} is '{}', expected {}", where, text, expected));
  }
  return value;
}

void parse(const std::string& text, const std::string&, std::string& value) {
  value = text;
}
void parse(const std::string& text, const std::string& where, std::int64_t& value) {
  value = parse_number<std::int64_t>(text, where, "a whole number");
}
void parse(const std::string& text, const std::string& where, double& value) {
  value = parse_number<double>(text, where, "a number");
}
void parse(const std::string& text, const std::string& where, bool& value) {
  if (text != "true" && text != "false") refuse_choice(where, text, {"true", "false"});
  value = text == "true";
}
void parse(const std::string& text, const std::string& where, std::array<std::int64_t, 2>& value) {
  constexpr const char* kExpected = "one whole number, or height,width";
  const std::string_view view = text;
  const std::size_t comma = view.find(',');
  value[0] = parse_number<std::int64_t>(view.substr(0, comma), where, kExpected);
  value[1] =
      comma == view.npos ? value[0] : parse_number<std::int64_t>(view.substr(comma + 1), where, kExpected);
}
template <class Enum>
void parse(const std::string& text, const std::string& where, Enum& value) requires std::is_enum_v<Enum> {
  value = parse_choice<Enum>(text, where);
}

template <class Value>
std::string text_of(const Value& value) {
  if constexpr (std::is_enum_v<Value>) {
    return name_of_choice(value);
  } else if constexpr (std::is_same_v<Value, std::array<std::int64_t, 2>>) {
    return fmt::format("{},{}", value[0], value[1]);
  } else {
    return fmt::format("{}", value);
  }
}

[[noreturn]] void refuse_key(std::string_view key, const std::string& where) {
  throw UsageError(
      fmt::format("{}: unknown key '{}'.{}", where, key, did_you_mean(std::string(key), config_keys())));
}

}  // namespace

std::vector<std::string> config_keys() {
  std::vector<std::string> keys;
  const ModelConfig config;
  visit_fields(config, [&](const char* key, const auto&) { keys.emplace_back(key); });
  return keys;
}

std::vector<std::string> config_choices(std::string_view key) {
  std::vector<std::string> choices;
  const ModelConfig config;
  visit_fields(config, [&](const char* each, const auto& value) {
    using Value = std::decay_t<decltype(value)>;
    if constexpr (std::is_enum_v<Value>) {
      if (key == each) choices = choices_of<Value>();
    }
  });
  return choices;
}

void set_config_value(ModelConfig& config, std::string_view key, const std::string& text,
                      const std::string& where) {
  bool known = false;
  visit_fields(config, [&](const char* each, auto& value) {
    if (key != each) return;
    known = true;
    parse(text, where, value);
  });
  if (!known) refuse_key(key, where);
}

std::string config_value(const ModelConfig& config, std::string_view key) {
  std::string text;
  bool known = false;
  visit_fields(config, [&](const char* each, const auto& value) {
    if (key != each) return;
    known = true;
    text = text_of(value);
  });
  if (!known) refuse_key(key, "model");
  return text;
}

}  // namespace vretnet::vision
