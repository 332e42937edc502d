#include "tools/result_format.h"

namespace vretnet::tools {

ResultFormat result_format(const std::string& format, const std::string& file) {
  const std::string name = format.empty() ? file.substr(file.find_last_of('.') + 1) : format;
  if (name == "md") return ResultFormat::markdown;
  if (name == "csv") return ResultFormat::csv;
  if (name == "json") return ResultFormat::json;
  if (name == "jsonl") return ResultFormat::jsonl;
  return ResultFormat::text;
}

}  // namespace vretnet::tools
