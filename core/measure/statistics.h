// Numbers about repeated measurements: a run that took longer was disturbed, so the best time says what the
// machine can do, the median what it does, and the spread how far to trust either.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/base/random.h"

namespace vretnet::measure {

// The q-quantile (0 … 1) by linear interpolation between the sorted values (R's type 7, numpy's default). At
// least one value.
double quantile(std::vector<double> values, double q);

struct Summary {
  double best = 0, median = 0, p90 = 0;
  double spread = 0;  // (third quartile − first quartile) / median
};
Summary summarize(const std::vector<double>& seconds);

// A number with the interval that holds the true one in 95 of 100 repetitions of what was measured.
struct Estimate {
  double value = 0, low = 0, high = 0;
  bool above(double bound) const { return low > bound; }
  bool below(double bound) const { return high < bound; }
};

// `value` with the percentile bootstrap's interval (Efron 1979): `statistic_of_a_draw` draws from the
// measurements, with replacement, by the generator that it is given, and computes from its draw what `value`
// is of all. The generator's seed is always the same.
Estimate bootstrap(double value, int draws, const std::function<double(Random& random)>& statistic_of_a_draw);

// The mean of independent values of one normal distribution, two or more, by Student's t (1908):
// mean ± t(0.975, n − 1) · s / √n.
Estimate mean_by_students_t(const std::vector<double>& values);

// median(now) / median(before), its interval by the bootstrap of both. It knows the scatter within these
// measurements only: what changes from one run to the next (clock, neighbours) it sees only where the values
// come from several runs.
Estimate ratio_of_medians(const std::vector<double>& before, const std::vector<double>& now);

}  // namespace vretnet::measure
