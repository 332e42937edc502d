#include "core/measure/statistics.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>

#include "core/base/ensure.h"

namespace vretnet::measure {
namespace {

constexpr int kDraws = 2000;
constexpr double kTail = 0.025;  // on either side of the interval
constexpr std::uint64_t kSeed = 1;

double median_of_a_draw(const std::vector<double>& values, Random& random, std::vector<double>& drawn) {
  drawn.resize(values.size());
  for (double& value : drawn) value = values[static_cast<std::size_t>(random.below(values.size()))];
  const auto middle = drawn.begin() + static_cast<std::ptrdiff_t>(drawn.size() / 2);
  std::nth_element(drawn.begin(), middle, drawn.end());
  if (drawn.size() % 2 == 1) return *middle;
  return (*std::max_element(drawn.begin(), middle) + *middle) / 2;
}

}  // namespace

double quantile(std::vector<double> values, double q) {
  ensure(!values.empty(), "the quantile {} of no values", q);
  std::sort(values.begin(), values.end());
  const double place = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(place));
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

Summary summarize(const std::vector<double>& seconds) {
  const double median = quantile(seconds, 0.5);
  return {quantile(seconds, 0), median, quantile(seconds, 0.9),
          (quantile(seconds, 0.75) - quantile(seconds, 0.25)) / median};
}

Estimate bootstrap(double value, int draws,
                   const std::function<double(Random& random)>& statistic_of_a_draw) {
  Random random(kSeed);
  std::vector<double> statistics(static_cast<std::size_t>(draws));
  for (double& statistic : statistics) statistic = statistic_of_a_draw(random);
  return {value, quantile(statistics, kTail), quantile(statistics, 1 - kTail)};
}

Estimate mean_by_students_t(const std::vector<double>& values) {
  ensure(values.size() >= 2, "the scatter of {} values", values.size());
  const auto count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double deviation = std::sqrt(squares / (count - 1));
  const boost::math::students_t distribution(count - 1);
  const double reach =
      boost::math::quantile(boost::math::complement(distribution, kTail)) * deviation / std::sqrt(count);
  return {mean, mean - reach, mean + reach};
}

Estimate ratio_of_medians(const std::vector<double>& before, const std::vector<double>& now) {
  std::vector<double> drawn;
  return bootstrap(quantile(now, 0.5) / quantile(before, 0.5), kDraws, [&](Random& random) {
    const double numerator = median_of_a_draw(now, random, drawn);
    return numerator / median_of_a_draw(before, random, drawn);
  });
}

}  // namespace vretnet::measure
