#include "tools/prediction_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools/json_text.h"
#include "tools/table.h"

namespace vretnet::tools {
namespace {

using json = nlohmann::ordered_json;

// What a reader can use, and short lines.
double four_decimals(double probability) {
  return std::round(probability * 1e4) / 1e4;
}

}  // namespace

PredictionFormat::PredictionFormat(std::string format, const std::vector<std::string>& class_names,
                                   std::size_t top, double reject_below)
    : format_(std::move(format)),
      class_names_(class_names),
      top_(std::min(top, class_names.size())),
      reject_below_(reject_below) {}

std::string PredictionFormat::begin() const {
  if (format_ == "json") return "[";
  if (format_ != "csv") return "";
  std::string heading = "file,label,probability";
  for (std::size_t k = 2; k <= top_; ++k) heading += fmt::format(",label{0},probability{0}", k);
  return heading + ",error\n";
}

std::string PredictionFormat::end() const {
  return format_ == "json" ? "\n]\n" : "";
}

std::string PredictionFormat::separated(const std::string& object) const {
  return (std::exchange(first_, false) ? "\n" : ",\n") + object;
}

std::string PredictionFormat::answer(const std::string& file, const vision::Answer& answer) const {
  const auto best = static_cast<std::size_t>(answer.ranking.front());
  const double probability = answer.probabilities[best];
  const std::string label = probability < reject_below_ ? "unknown" : class_names_[best];
  if (format_ == "csv") {
    std::string line = fmt::format("{},{},{:.4f}", csv_field(file), csv_field(label), probability);
    for (std::size_t k = 1; k < top_; ++k) {
      const auto c = static_cast<std::size_t>(answer.ranking[k]);
      line += fmt::format(",{},{:.4f}", csv_field(class_names_[c]), answer.probabilities[c]);
    }
    return line + ",\n";
  }
  if (format_ == "text") {
    std::string line = fmt::format("{}: {} {:.1f}%", file, label, 100 * probability);
    for (std::size_t k = 1; k < top_; ++k) {
      const auto c = static_cast<std::size_t>(answer.ranking[k]);
      line += fmt::format(", {} {:.1f}%", class_names_[c], 100 * answer.probabilities[c]);
    }
    if (answer.part_read < 1) line += fmt::format(", after {:.0f}% of the image", 100 * answer.part_read);
    return line + "\n";
  }
  json object = {{"file", file}, {"label", label}, {"probability", four_decimals(probability)}};
  object["top"] = json::array();
  for (std::size_t k = 0; k < top_; ++k) {
    const auto c = static_cast<std::size_t>(answer.ranking[k]);
    object["top"].push_back(
        json{{"label", class_names_[c]}, {"probability", four_decimals(answer.probabilities[c])}});
  }
  if (answer.part_read < 1) object["part_read"] = four_decimals(answer.part_read);
  return format_ == "json" ? separated(json_text(object)) : json_text(object) + "\n";
}

std::string PredictionFormat::failure(const std::string& file, const std::string& reason) const {
  if (format_ == "text") return fmt::format("{}: error\n", file);
  if (format_ == "csv") {
    std::string line = csv_field(file) + ",,";
    for (std::size_t k = 1; k < top_; ++k) line += ",,";
    return line + "," + csv_field(reason) + "\n";
  }
  const std::string object = json_text(json{{"file", file}, {"error", reason}});
  return format_ == "json" ? separated(object) : object + "\n";
}

}  // namespace vretnet::tools
