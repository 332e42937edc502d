// The confusion matrix as a picture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vretnet::tools {

// An SVG document: rows are true classes, columns predictions, a cell's shade is its share of the row. With
// more than 40 classes cells carry no numbers.
std::string confusion_svg(const std::vector<std::vector<std::int64_t>>& confusion,
                          const std::vector<std::string>& class_names);

// `text` with & < > " escaped.
std::string xml_text(const std::string& text);

}  // namespace vretnet::tools
