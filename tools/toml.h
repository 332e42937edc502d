// Recipes as TOML (toml++): keys of texts, numbers, booleans and flat lists of them, sections, comments.
// CLI11 2.1.2's own reader is not enough for a file that must give a run back: it cuts a quoted text at '#'
// and at commas, knows no escapes and names no line.
#pragma once

#include <string>
#include <vector>

namespace vretnet::tools {

struct TomlEntry {
  std::string section;  // "" before the first [section]
  std::string key;
  std::vector<std::string> values;  // as text: "0.1", "true", "photos #2"; one, or the elements of a list
  int line = 0;                     // from 1
};

// In the file's order. Throws UsageError "NAME:LINE: …" for what is not TOML, a key said twice, and for what
// recipes have no use for (tables in lists, dates, nested lists).
std::vector<TomlEntry> parse_toml(const std::string& text, const std::string& name);

// A quoted text that parse_toml reads as `text`.
std::string toml_string(const std::string& text);

}  // namespace vretnet::tools
