#include "tools/confusion_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace vretnet::tools {
namespace {

constexpr std::size_t kNumberedClasses = 40;  // above, a cell is too small to be read

// White to a dark blue, by the share of the row.
std::string shade(double share) {
  const auto mix = [&](int light, int dark) {
    return static_cast<int>(light + (dark - light) * share + 0.5);
  };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(255, 8), mix(255, 48), mix(255, 107));
}

}  // namespace

std::string xml_text(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20) escaped += c;  // XML has no control characters
    }
  }
  return escaped;
}

std::string confusion_svg(const std::vector<std::vector<std::int64_t>>& confusion,
                          const std::vector<std::string>& class_names) {
  const std::size_t classes = confusion.size();
  const bool numbered = classes <= kNumberedClasses;
  const int cell = numbered ? 44 : std::max(2, 1600 / static_cast<int>(classes));
  std::size_t longest = 4;
  for (const std::string& name : class_names) longest = std::max(longest, name.size());
  const int margin = numbered ? 30 + 7 * static_cast<int>(std::min<std::size_t>(longest, 30)) : 40;
  const int side = margin + cell * static_cast<int>(classes) + 20;

  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{0}\" viewBox=\"0 0 {0} {0}\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{0}\" height=\"{0}\" fill=\"white\"/>\n"
      "<text x=\"{1}\" y=\"16\" text-anchor=\"middle\" font-weight=\"bold\">predicted</text>\n"
      "<text transform=\"translate(14,{1}) rotate(-90)\" text-anchor=\"middle\" "
      "font-weight=\"bold\">true</text>\n",
      side, margin + cell * static_cast<int>(classes) / 2);
  for (std::size_t row = 0; row < classes; ++row) {
    const auto total =
        static_cast<double>(std::accumulate(confusion[row].begin(), confusion[row].end(), std::int64_t{0}));
    const int y = margin + static_cast<int>(row) * cell;
    if (numbered) {
      const std::string name = xml_text(class_names[row]);
      svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", margin - 6,
                         y + cell / 2 + 4, name);
      svg += fmt::format("<text transform=\"translate({},{}) rotate(-90)\">{}</text>\n", y + cell / 2 + 4,
                         margin - 6, name);
    }
    for (std::size_t column = 0; column < classes; ++column) {
      const std::int64_t count = confusion[row][column];
      const double share = total > 0 ? static_cast<double>(count) / total : 0;
      const int x = margin + static_cast<int>(column) * cell;
      svg += fmt::format(
          "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\" stroke=\"#dddddd\">"
          "<title>{} as {}: {}</title></rect>\n",
          x, y, cell, cell, shade(share), xml_text(class_names[row]), xml_text(class_names[column]), count);
      if (numbered && count > 0) {
        svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"{}\">{}</text>\n",
                           x + cell / 2, y + cell / 2 + 4, share > 0.5 ? "white" : "black", count);
      }
    }
  }
  return svg + "</svg>\n";
}

}  // namespace vretnet::tools
