#include "tools/toml.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "core/base/error.h"

namespace vretnet::tools {
namespace {

class Reader {
 public:
  Reader(const std::string& text, const std::string& name) : text_(text), name_(name) {}

  std::vector<TomlEntry> entries() {
    std::vector<TomlEntry> entries;
    std::string section;
    for (skip_blank(true); peek() != kEnd; skip_blank(true)) {
      if (take('[')) {
        section = key();
        expect(']');
      } else {
        TomlEntry entry{section, key(), {}, line_};
        for (const TomlEntry& before : entries) {
          if (before.section == section && before.key == entry.key) {
            fail(fmt::format("'{}' stands in line {} already", entry.key, before.line));
          }
        }
        expect('=');
        entry.values = values();
        entries.push_back(std::move(entry));
      }
      skip_blank(false);
      if (peek() != '\n' && peek() != kEnd)
        fail(fmt::format("unexpected '{}' at the end of the line", peek()));
    }
    return entries;
  }

 private:
  static constexpr char kEnd = '\0';

  [[noreturn]] void fail(const std::string& reason) const {
    throw UsageError(fmt::format("{}:{}: {}", name_, line_, reason));
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : kEnd; }
  char next() {
    const char c = peek();
    if (at_ < text_.size()) ++at_;
    line_ += c == '\n';
    return c;
  }
  bool take(char wanted) {
    if (peek() != wanted) return false;
    next();
    return true;
  }
  void expect(char wanted) {
    skip_blank(false);
    if (!take(wanted)) fail(fmt::format("expected '{}'", wanted));
    skip_blank(false);
  }

  // Spaces and comments, and where `lines` is set the ends of lines, too.
  void skip_blank(bool lines) {
    for (char c = peek(); c == ' ' || c == '\t' || c == '\r' || c == '#' || (lines && c == '\n');
         c = peek()) {
      if (c == '#') {
        while (peek() != '\n' && peek() != kEnd) next();
      } else {
        next();
      }
    }
  }

  std::string bare() {
    const auto belongs = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.' || c == '+';
    };
    std::string word;
    while (belongs(peek())) word += next();
    return word;
  }

  std::string key() {
    skip_blank(false);
    const std::string word = peek() == '"' || peek() == '\'' ? quoted() : bare();
    if (word.empty()) fail("expected a key, as in: epochs = 20");
    return word;
  }

  std::string quoted() {
    const char quote = next();
    std::string word;
    for (;;) {
      const char c = next();
      if (c == quote) return word;
      if (c == kEnd || c == '\n') fail("a text without its closing quote");
      word += c == '\\' && quote == '"' ? escaped() : std::string(1, c);
    }
  }

  std::string escaped() {
    switch (const char c = next()) {
      case '"':
      case '\\':
        return std::string(1, c);
      case 'n':
        return "\n";
      case 't':
        return "\t";
      case 'r':
        return "\r";
      default:
        fail(fmt::format("unknown escape '\\{}'; a text in single quotes has none", c));
    }
  }

  std::string value() {
    if (peek() == '"' || peek() == '\'') return quoted();
    std::string word = bare();
    if (word == "true" || word == "false") return word;
    std::erase(word, '_');  // 1_000
    char* end = nullptr;
    std::strtod(word.c_str(), &end);
    if (word.empty() || *end != '\0') {
      fail(fmt::format("'{}' is no number, true or false; a text needs quotes", word));
    }
    return word;
  }

  std::vector<std::string> values() {
    if (!take('[')) return {value()};
    std::vector<std::string> list;
    for (skip_blank(true); !take(']'); skip_blank(true)) {
      list.push_back(value());
      skip_blank(true);
      if (!take(',') && peek() != ']') fail("a list without its closing ']'");
    }
    return list;
  }

  const std::string& text_;
  const std::string& name_;
  std::size_t at_ = 0;
  int line_ = 1;
};

}  // namespace

std::vector<TomlEntry> parse_toml(const std::string& text, const std::string& name) {
  return Reader(text, name).entries();
}

std::string toml_string(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    switch (c) {
      case '\n':
        result += "\\n";
        break;
      case '\r':
        result += "\\r";
        break;
      case '\t':
        result += "\\t";
        break;
      case '"':
      case '\\':
        result += '\\';
        [[fallthrough]];
      default:
        result += c;
    }
  }
  return result + "\"";
}

}  // namespace vretnet::tools
