// How a command writes its table.
#pragma once

#include <cstdint>
#include <string>

namespace vretnet::tools {

enum class ResultFormat : std::uint8_t { text, markdown, csv, json, jsonl };
// `format` as given, or, where that is empty, by the ending of `file`, or text.
ResultFormat result_format(const std::string& format, const std::string& file);

}  // namespace vretnet::tools
