// The string "rand-m9-n2-mstd0.5-inc1".
#include <fmt/format.h>

#include <charconv>
#include <sstream>

#include "core/base/error.h"
#include "vision/image/rand_augment.h"

namespace vretnet::vision {
namespace {

constexpr int kMostLayers = 15, kLargestMagnitude = 100;

// A number within its range; `part` is "m9" of the whole string.
template <class Number>
Number number_of(const std::string& text, const std::string& part, std::size_t key_length, Number low,
                 Number high, const char* kind) {
  const char *begin = part.data() + key_length, *end = part.data() + part.size();
  Number value{};
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (error != std::errc() || stop != end || !(value >= low && value <= high)) {
    throw UsageError(fmt::format("'{}': '{}', expected {} {} … {} after '{}'", text, part, kind, low, high,
                                 part.substr(0, key_length)));
  }
  return value;
}

}  // namespace

RandAugment parse_rand_augment(const std::string& text) {
  RandAugment policy;
  std::istringstream parts(text + (text.ends_with('-') ? "-" : ""));  // an empty last part is one, too
  std::string part;
  std::getline(parts, part, '-');
  if (part != "rand") {
    throw UsageError(fmt::format("'{}': only 'rand' is known, for example rand-m9-n2-mstd0.5-inc1", text));
  }
  while (std::getline(parts, part, '-')) {
    const std::string key = part.substr(0, part.find_first_of("0123456789."));
    const auto whole = [&](int low, int high) {
      return number_of(text, part, key.size(), low, high, "a whole number");
    };
    const auto number = [&](double high) { return number_of(text, part, key.size(), 0.0, high, "a number"); };
    if (key == "m") {
      policy.magnitude = whole(0, kLargestMagnitude);
    } else if (key == "n") {
      policy.layers = whole(1, kMostLayers);
    } else if (key == "p") {
      policy.probability = number(1);
    } else if (key == "mstd") {
      policy.magnitude_deviation = number(1e6);
    } else if (key == "mmax") {
      policy.largest_magnitude = whole(1, kLargestMagnitude);
    } else if (key == "inc") {
      policy.increasing = whole(0, 1) == 1;
    } else {
      throw UsageError(fmt::format("'{}': '{}' is unknown, expected m, n, p, mstd, mmax or inc with a number",
                                   text, part));
    }
  }
  return policy;
}

}  // namespace vretnet::vision
