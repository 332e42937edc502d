#include "tools/line_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "tools/confusion_svg.h"

namespace vretnet::tools {
namespace {

constexpr double kWidth = 880, kHeight = 500;
constexpr double kLeft = 84, kRight = 220, kTop = 84, kBottom = 64;  // margins
constexpr double kLabelHeight = 34;                                  // of a line's name and value
constexpr double kTickDistance = 46;                                 // between two marks of the x axis
constexpr std::array kColours = {"#0b62a8", "#c8452f", "#2a8c55", "#7a4fb5", "#b07d12", "#4a4a4a"};

// A logarithmic axis: values `low` … `high` to pixels `from` … `to`.
struct Axis {
  double low, high, from, to;
  double at(double value) const { return from + (to - from) * std::log(value / low) / std::log(high / low); }
};

Axis axis_of(const LineChart& chart, double std::pair<double, double>::*part, double from, double to) {
  double low = std::numeric_limits<double>::infinity(), high = 0;
  for (const ChartLine& line : chart.lines) {
    for (const auto& point : line.points) {
      low = std::min(low, point.*part);
      high = std::max(high, point.*part);
    }
  }
  const double room = std::pow(std::max(high / low, 2.0), 0.05);
  return {low / room, high * room, from, to};
}

// 1, 2 and 5 times powers of ten within the axis.
std::vector<double> round_values(const Axis& axis) {
  std::vector<double> values;
  for (double power = std::pow(10, std::floor(std::log10(axis.low))); power <= axis.high; power *= 10) {
    for (const double factor : {1, 2, 5}) {
      const double value = factor * power;
      if (value >= axis.low && value <= axis.high) values.push_back(value);
    }
  }
  return values;
}

std::string thousands(double value) {
  std::string text = fmt::format("{:.0f}", value);
  for (auto place = static_cast<int>(text.size()) - 3; place > 0; place -= 3) {
    text.insert(static_cast<std::size_t>(place), ",");
  }
  return text;
}

std::string text_at(double x, double y, const std::string& text, const std::string& attributes = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\"{}{}>{}</text>\n", x, y, attributes.empty() ? "" : " ",
                     attributes, xml_text(text));
}

std::string rule(double x1, double y1, double x2, double y2, const char* colour) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1,
                     y1, x2, y2, colour);
}

// Circle, square, diamond, in turn.
std::string mark(std::size_t line, double x, double y, const std::string& hint) {
  const std::string colour = kColours[line % kColours.size()];
  const std::string title = hint.empty() ? "" : "<title>" + xml_text(hint) + "</title>";
  if (line % 3 == 0) {
    return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4.5\" fill=\"{}\">{}</circle>\n", x, y,
                       colour, title);
  }
  const std::string turn = line % 3 == 2 ? fmt::format(" transform=\"rotate(45 {:.1f} {:.1f})\"", x, y) : "";
  return fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"8\" height=\"8\" fill=\"{}\"{}>{}</rect>\n",
                     x - 4, y - 4, colour, turn, title);
}

std::string grid(const LineChart& chart, const Axis& x, const Axis& y) {
  std::string svg;
  for (const double value : round_values(y)) {
    svg += rule(x.from, y.at(value), x.to, y.at(value), "#e4e4e4");
    svg += text_at(x.from - 8, y.at(value) + 4, chart.y_text(value), "text-anchor=\"end\" fill=\"#555555\"");
  }
  // The x axis is marked where there are measurements.
  std::vector<double> places;
  for (const ChartLine& line : chart.lines) {
    for (const auto& point : line.points) places.push_back(point.first);
  }
  std::sort(places.begin(), places.end());
  double last = -kTickDistance;
  for (const double place : places) {
    if (x.at(place) - last < kTickDistance) continue;
    last = x.at(place);
    svg += rule(last, y.from, last, y.to, "#f0f0f0") + rule(last, y.from, last, y.from + 5, "#555555");
    svg += text_at(last, y.from + 20, thousands(place), "text-anchor=\"middle\" fill=\"#555555\"");
  }
  svg += rule(x.from, y.from, x.to, y.from, "#555555") + rule(x.from, y.from, x.from, y.to, "#555555");
  svg += text_at((x.from + x.to) / 2, kHeight - 18, chart.x_label, "text-anchor=\"middle\"");
  return svg + fmt::format(
                   "<text transform=\"translate(20,{:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                   (y.from + y.to) / 2, xml_text(chart.y_label));
}

// The heights of the labels at the lines' ends: at the last points, moved apart where they would overlap.
std::vector<double> label_heights(const LineChart& chart, const Axis& y) {
  std::vector<std::size_t> order(chart.lines.size());
  std::vector<double> heights;
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
    heights.push_back(y.at(chart.lines[i].points.back().second));
  }
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return heights[a] < heights[b]; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    heights[order[i]] = std::max(heights[order[i]], heights[order[i - 1]] + kLabelHeight);
  }
  return heights;
}

}  // namespace

std::string line_chart_svg(const LineChart& chart) {
  const Axis x = axis_of(chart, &std::pair<double, double>::first, kLeft, kWidth - kRight);
  const Axis y = axis_of(chart, &std::pair<double, double>::second, kHeight - kBottom, kTop);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n",
      kWidth, kHeight);
  svg += text_at(kLeft, 28, chart.title, "font-size=\"16\" font-weight=\"bold\"") + grid(chart, x, y);
  const std::vector<double> heights = label_heights(chart, y);
  double legend = kLeft;
  for (std::size_t i = 0; i < chart.lines.size(); ++i) {
    const ChartLine& line = chart.lines[i];
    const std::string colour = kColours[i % kColours.size()];
    std::string path, marks;
    for (const auto& [px, py] : line.points) {
      path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ", x.at(px), y.at(py));
      marks += mark(i, x.at(px), y.at(py),
                    fmt::format("{}: {} {}, {}", line.name, thousands(px), chart.x_label, chart.y_text(py)));
    }
    svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2.5\"/>\n{}", path,
                       colour, marks);
    const double end = x.at(line.points.back().first) + 12;
    svg += text_at(end, heights[i], line.name, fmt::format("fill=\"{}\" font-weight=\"bold\"", colour));
    svg += text_at(end, heights[i] + 15, chart.y_text(line.points.back().second), "fill=\"#333333\"");
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" y1=\"52\" x2=\"{1:.1f}\" y2=\"52\" stroke=\"{2}\" "
        "stroke-width=\"2.5\"/>\n",
        legend, legend + 26, colour);
    svg += mark(i, legend + 13, 52, "") + text_at(legend + 34, 56, line.name);
    legend += 60 + 7 * static_cast<double>(line.name.size());
  }
  return svg + "</svg>\n";
}

}  // namespace vretnet::tools
