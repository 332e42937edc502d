#include "tools/class_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/did_you_mean.h"
#include "core/base/error.h"

namespace vretnet::tools {
namespace {

std::vector<float> balanced_weights(const std::vector<std::int64_t>& images, double power) {
  double all = 0, sum = 0;  // Σ images, Σ images · weight
  for (const std::int64_t count : images) {
    if (count == 0) continue;
    all += static_cast<double>(count);
    sum += static_cast<double>(count) * std::pow(static_cast<double>(count), -power);
  }
  std::vector<float> weights;
  for (const std::int64_t count : images) {
    const double weight = count == 0 ? 1 : std::pow(static_cast<double>(count), -power) * all / sum;
    weights.push_back(static_cast<float>(weight));
  }
  return weights;
}

[[noreturn]] void refuse(const std::string& what) {
  throw UsageError("--class-weights: " + what);
}

nlohmann::json read_object(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) refuse(fmt::format("'{}' is none of none, inv, sqrt-inv, and no file that can be read", path));
  const nlohmann::json weights = nlohmann::json::parse(file, nullptr, false);
  if (!weights.is_object()) refuse(fmt::format("{}: expected JSON like {{\"cat\": 2, \"dog\": 0.5}}", path));
  return weights;
}

}  // namespace

bool names_weight_file(const std::string& how) {
  return how != "none" && how != "inv" && how != "sqrt-inv";
}

std::vector<float> class_weights(const std::string& how, const std::vector<std::int64_t>& images,
                                 const std::vector<std::string>& class_names) {
  if (how == "none") return {};
  if (how == "inv") return balanced_weights(images, 1);
  if (how == "sqrt-inv") return balanced_weights(images, 0.5);
  const nlohmann::json given = read_object(how);
  for (const auto& [name, weight] : given.items()) {
    if (std::find(class_names.begin(), class_names.end(), name) == class_names.end()) {
      refuse(fmt::format("{}: '{}' is no class of the data.{}", how, name, did_you_mean(name, class_names)));
    }
    if (!weight.is_number() || !(weight.get<double>() > 0) || !std::isfinite(weight.get<float>())) {
      refuse(
          fmt::format("{}: the weight of '{}' is {}, expected a number above 0", how, name, weight.dump()));
    }
  }
  std::vector<float> weights;
  for (const std::string& name : class_names) {
    if (!given.contains(name)) refuse(fmt::format("{}: class '{}' has no weight", how, name));
    weights.push_back(given[name].get<float>());
  }
  return weights;
}

}  // namespace vretnet::tools
