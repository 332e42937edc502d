// Numbers about repeated measurements: a run that took longer was disturbed, so the best time says what the
// machine can do, the median what it does, and the spread how far to trust either.
#pragma once

#include <cstdint>
#include <vector>

namespace vretnet::measure {

// The q-quantile (0 … 1) by linear interpolation between the sorted values (R's type 7, numpy's default). At
// least one value.
double quantile(std::vector<double> values, double q);

struct Summary {
  double best = 0, median = 0, p90 = 0;
  double spread = 0;  // (third quartile − first quartile) / median
};
Summary summarize(const std::vector<double>& seconds);

// median(now) / median(before), and the interval that holds it in 95 of 100 repetitions of both measurements
// by the percentile bootstrap (Efron 1979). It knows the scatter within these measurements only: what
// changes from one run to the next (clock, neighbours) it sees only where the values come from several runs.
struct Ratio {
  double value = 1, low = 1, high = 1;
  bool clear() const { return low > 1 || high < 1; }
};
Ratio ratio_of_medians(const std::vector<double>& before, const std::vector<double>& now);

}  // namespace vretnet::measure
