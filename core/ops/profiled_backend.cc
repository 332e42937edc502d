#include "core/ops/profiled_backend.h"

#include <algorithm>
#include <chrono>

#include "core/ops/cost.h"

namespace vretnet {

void ProfiledBackend::run(const ops::Op& op) {
  if (!watching_) return inner().run(op);
  using Clock = std::chrono::steady_clock;
  const bool own_clock = inner().has_clock();
  const Clock::time_point start = Clock::now();
  if (own_clock) inner().start_clock();
  inner().run(op);
  // The machine's clock waits by itself. Read behind a wait it would count how long the host took to wake up.
  if (!own_clock) inner().synchronize();
  const double seconds =
      own_clock ? inner().read_clock() : std::chrono::duration<double>(Clock::now() - start).count();
  const std::string label = label_(op);
  OpProfile& row = rows_[label];
  row.op = label;
  row.seconds += seconds;
  ++row.calls;
  row.flops += ops::flops(op);
  row.bytes += ops::bytes(op);
}

std::vector<OpProfile> ProfiledBackend::profile() const {
  std::vector<OpProfile> entries;
  for (const auto& [label, row] : rows_) entries.push_back(row);
  std::stable_sort(entries.begin(), entries.end(),
                   [](const OpProfile& a, const OpProfile& b) { return a.seconds > b.seconds; });
  return entries;
}

}  // namespace vretnet
