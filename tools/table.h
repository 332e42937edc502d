// A table of texts, written for people (text, md) and for programs (csv).
#pragma once

#include <string>
#include <vector>

namespace vretnet::tools {

struct Table {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  // each as long as the header
};

// Columns side by side, two blanks between them; a column of which all cells begin with a digit or sign
// stands to the right, others to the left.
std::string text_table(const Table& table);
std::string markdown_table(const Table& table);
std::string csv_table(const Table& table);  // RFC 4180

// The fields of a CSV text, line by line, as csv_table writes it; \r\n ends a line as well. An empty text has
// no line.
std::vector<std::vector<std::string>> parse_csv(const std::string& text);

// A field of a CSV line, quoted where it must be (RFC 4180).
std::string csv_field(const std::string& text);

}  // namespace vretnet::tools
