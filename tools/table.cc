#include "tools/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace vretnet::tools {
namespace {

std::size_t columns_of(const std::string& text) {  // of UTF-8
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

bool is_numeric(const Table& table, std::size_t column) {
  return std::all_of(table.rows.begin(), table.rows.end(), [&](const std::vector<std::string>& row) {
    const std::string& cell = row[column];
    return cell.empty() || cell[0] == '-' || cell[0] == '+' ||
           std::isdigit(static_cast<unsigned char>(cell[0])) != 0;
  });
}

// Cells padded to their column's width, joined.
std::string lay_out(const Table& table, const std::string& before, const std::string& between,
                    const std::string& after, const std::string& rule) {
  std::vector<std::size_t> widths;
  std::vector<bool> right;
  for (std::size_t c = 0; c < table.header.size(); ++c) {
    std::size_t width = columns_of(table.header[c]);
    for (const auto& row : table.rows) width = std::max(width, columns_of(row[c]));
    widths.push_back(width);
    right.push_back(is_numeric(table, c));
  }
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text = before;
    for (std::size_t c = 0; c < cells.size(); ++c) {
      const std::string padding(widths[c] - columns_of(cells[c]), ' ');
      text += (c > 0 ? between : "") + (right[c] ? padding + cells[c] : cells[c] + padding);
    }
    text += after;
    text.erase(text.find_last_not_of(' ') + 1);
    return text + "\n";
  };
  std::string text = line(table.header);
  if (!rule.empty()) {
    std::vector<std::string> rules;
    for (std::size_t c = 0; c < widths.size(); ++c) {
      rules.push_back(std::string(std::max<std::size_t>(3, widths[c]) - 1, '-') + (right[c] ? ":" : "-"));
      widths[c] = rules.back().size();
    }
    text += line(rules);
  }
  for (const auto& row : table.rows) text += line(row);
  return text;
}

}  // namespace

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

std::string text_table(const Table& table) {
  return lay_out(table, "", "  ", "", "");
}

std::string markdown_table(const Table& table) {
  return lay_out(table, "| ", " | ", " |", "-");
}

std::string csv_table(const Table& table) {
  std::string text;
  const auto line = [&](const std::vector<std::string>& cells) {
    for (std::size_t c = 0; c < cells.size(); ++c) text += (c > 0 ? "," : "") + csv_field(cells[c]);
    text += "\n";
  };
  line(table.header);
  for (const auto& row : table.rows) line(row);
  return text;
}

std::vector<std::vector<std::string>> parse_csv(const std::string& text) {
  std::vector<std::vector<std::string>> lines;
  bool quoted = false, begins = true;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (begins) lines.push_back({""});
    begins = false;
    if (quoted) {
      if (c != '"') {
        lines.back().back() += c;
      } else if (text.compare(i, 2, "\"\"") == 0) {
        lines.back().back() += text[++i];
      } else {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      lines.back().emplace_back();
    } else if (c == '\n') {
      begins = true;
    } else if (c != '\r') {
      lines.back().back() += c;
    }
  }
  return lines;
}

}  // namespace vretnet::tools
