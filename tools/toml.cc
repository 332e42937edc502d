#include "tools/toml.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <sstream>

#include "core/base/error.h"

namespace vretnet::tools {
namespace {

[[noreturn]] void refuse(const std::string& name, const toml::node& node, const std::string& what) {
  throw UsageError(fmt::format("{}:{}: {}", name, node.source().begin.line, what));
}

// A single value as a command line would have it.
std::string text_of(const toml::node& node, const std::string& key, const std::string& name) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* truth = node.as_boolean()) return truth->get() ? "true" : "false";
  if (const auto* whole = node.as_integer()) return fmt::format("{}", whole->get());
  if (const auto* number = node.as_floating_point()) return fmt::format("{}", number->get());
  refuse(name, node,
         fmt::format("the value of '{}' is no text, number, true, false or flat list of these", key));
}

void add_entries(const toml::table& table, const std::string& section, const std::string& name,
                 std::vector<TomlEntry>& entries) {
  for (const auto& [key_node, node] : table) {
    const std::string key(key_node.str());
    if (const toml::table* inner = node.as_table()) {
      if (!section.empty())
        refuse(name, node, fmt::format("section [{}.{}] lies in another section", section, key));
      add_entries(*inner, key, name, entries);
      continue;
    }
    TomlEntry entry{section, key, {}, static_cast<int>(key_node.source().begin.line)};
    if (const toml::array* list = node.as_array()) {
      for (const toml::node& element : *list) entry.values.push_back(text_of(element, key, name));
    } else {
      entry.values.push_back(text_of(node, key, name));
    }
    entries.push_back(std::move(entry));
  }
}

}  // namespace

std::vector<TomlEntry> parse_toml(const std::string& text, const std::string& name) {
  std::vector<TomlEntry> entries;
  try {
    add_entries(toml::parse(text, name), "", name, entries);
  } catch (const toml::parse_error& error) {
    throw UsageError(
        fmt::format("{}:{}: not TOML: {}", name, error.source().begin.line, error.description()));
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const TomlEntry& a, const TomlEntry& b) { return a.line < b.line; });
  return entries;
}

std::string toml_string(const std::string& text) {
  std::ostringstream quoted;
  quoted << toml::toml_formatter{toml::value<std::string>(text), toml::format_flags::none};
  return quoted.str();
}

}  // namespace vretnet::tools
