// How long each kind of op takes on a backend.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/ops/decorator.h"

namespace vretnet {

struct OpProfile {
  std::string op;  // "Gemm"
  std::int64_t calls = 0;
  double seconds = 0, flops = 0, bytes = 0;  // sums over the calls
};

// Waits for every op, so that its time is its own.
class ProfiledBackend : public BackendDecorator {
 public:
  explicit ProfiledBackend(Backend& inner);

  void run(const ops::Op& op) override;

  std::vector<OpProfile> profile() const;  // kinds that ran, the longest time first
  void reset();

 private:
  std::vector<OpProfile> by_kind_;  // indexed by ops::Op::index()
};

}  // namespace vretnet
