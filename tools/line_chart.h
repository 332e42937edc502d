// Lines over two logarithmic axes as SVG.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace vretnet::tools {

struct ChartLine {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x ascending, all above 0
};

struct LineChart {
  std::string title, x_label, y_label;
  std::vector<ChartLine> lines;               // at most six are told apart by colour and mark
  std::function<std::string(double)> y_text;  // "120 ms": marks of the axis, and the value at a line's end
};

// At least one line with a point. Every line is named in the legend and at its end, where its last value
// stands.
std::string line_chart_svg(const LineChart& chart);

}  // namespace vretnet::tools
