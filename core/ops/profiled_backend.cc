#include "core/ops/profiled_backend.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <variant>

#include "core/ops/cost.h"

namespace vretnet {

ProfiledBackend::ProfiledBackend(Backend& inner) : BackendDecorator(inner) {
  reset();
}

void ProfiledBackend::reset() {
  by_kind_.assign(std::variant_size_v<ops::Op>, OpProfile());
}

void ProfiledBackend::run(const ops::Op& op) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  inner().run(op);
  inner().synchronize();
  OpProfile& entry = by_kind_[op.index()];
  entry.seconds += std::chrono::duration<double>(Clock::now() - start).count();
  if (entry.calls++ == 0) entry.op = ops::name_of(op);
  entry.flops += ops::flops(op);
  entry.bytes += ops::bytes(op);
}

std::vector<OpProfile> ProfiledBackend::profile() const {
  std::vector<OpProfile> entries;
  std::copy_if(by_kind_.begin(), by_kind_.end(), std::back_inserter(entries),
               [](const OpProfile& entry) { return entry.calls > 0; });
  std::stable_sort(entries.begin(), entries.end(),
                   [](const OpProfile& a, const OpProfile& b) { return a.seconds > b.seconds; });
  return entries;
}

}  // namespace vretnet
