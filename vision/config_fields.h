// The keys of a model config, said once: visit_fields names every field to a visitor, Choices names the
// values of every enumeration. Private to model_config*.cc.
#pragma once

#include <utility>

#include "vision/model_config.h"

namespace vretnet::vision {

// Calls visit(key, field) for every field of a (const) ModelConfig.
template <class Config, class Visit>
void visit_fields(Config& config, Visit&& visit) {
  visit("name", config.name);
  visit("image_size", config.image_size);
  visit("patch_size", config.patch_size);
  visit("in_chans", config.in_chans);
  visit("width", config.width);
  visit("depth", config.depth);
  visit("heads", config.heads);
  visit("value_factor", config.value_factor);
  visit("ffn_factor", config.ffn_factor);
  visit("stem", config.stem);
  visit("scan", config.scan);
  visit("decay", config.decay);
  visit("decay_speed", config.decay_speed);
  visit("position", config.position);
  visit("pool", config.pool);
  visit("learned_position", config.learned_position);
  visit("cpe", config.cpe);
  visit("lepe", config.lepe);
  visit("gate", config.gate);
  visit("head_norm", config.head_norm);
  visit("head_norm_epsilon", config.head_norm_epsilon);
  visit("norm_epsilon", config.norm_epsilon);
  visit("classes", config.classes);
  visit("mixer", config.mixer);
  visit("class_token", config.class_token);
  visit("layer_scale", config.layer_scale);
  visit("base_grid", config.base_grid);
  visit("learned_decay", config.learned_decay);
}

// The values of an enumeration in the order of its constants, from 0.
template <class Enum>
struct Choices;
template <>
struct Choices<Stem> {
  static constexpr std::array kNames{"patch", "conv"};
};
template <>
struct Choices<Scan> {
  static constexpr std::array kNames{"causal", "alternate", "bidirectional", "cross"};
};
template <>
struct Choices<ops::DecayKind> {
  static constexpr std::array kNames{"raster", "row", "manhattan"};
};
template <>
struct Choices<retention::DecaySpeed> {
  static constexpr std::array kNames{"slow", "fast"};
};
template <>
struct Choices<retention::Position> {
  static constexpr std::array kNames{"none", "raster", "axial"};
};
template <>
struct Choices<layers::Pool> {
  static constexpr std::array kNames{"mean", "last", "token", "sequence"};
};
template <>
struct Choices<ops::HeadNormKind> {
  static constexpr std::array kNames{"layer", "rms"};
};
template <>
struct Choices<MixerKind> {
  static constexpr std::array kNames{"retention", "attention"};
};

template <class Enum>
const char* name_of_choice(Enum value) {
  return Choices<Enum>::kNames[static_cast<std::size_t>(value)];
}

template <class Enum>
std::vector<std::string> choices_of() {
  return {Choices<Enum>::kNames.begin(), Choices<Enum>::kNames.end()};
}

// "scan is 'casual', expected causal, alternate or bidirectional" as UsageError; with a guess where one is
// near.
[[noreturn]] void refuse_choice(const std::string& where, const std::string& found,
                                const std::vector<std::string>& choices);

template <class Enum>
Enum parse_choice(const std::string& text, const std::string& where) {
  for (std::size_t i = 0; i < Choices<Enum>::kNames.size(); ++i) {
    if (text == Choices<Enum>::kNames[i]) return static_cast<Enum>(i);
  }
  refuse_choice(where, text, choices_of<Enum>());
}

}  // namespace vretnet::vision
