// How long each kind of op takes on a backend.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/ops/decorator.h"

namespace vretnet {

struct OpProfile {
  std::string op;  // "Gemm", or with its shapes: "Gemm 197x768x192 gelu"
  std::int64_t calls = 0;
  double seconds = 0, flops = 0, bytes = 0;  // sums over the calls
  double least_seconds = 0;                  // sum of what `least_seconds` said, 0 without it
};

// Waits for every op, so that its time is its own.
class ProfiledBackend : public BackendDecorator {
 public:
  // Ops of one label share a row. `least_seconds`, where given, is what the machine needs for an op at least.
  explicit ProfiledBackend(Backend& inner, std::function<std::string(const ops::Op&)> label = ops::name_of,
                           std::function<double(const ops::Op&)> least_seconds = {});

  void run(const ops::Op& op) override;

  std::vector<OpProfile> profile() const;  // rows that ran, the longest time first
  void reset() { rows_.clear(); }
  void watch(bool on) { watching_ = on; }  // at first on; while off, ops are passed on and not counted

 private:
  std::function<std::string(const ops::Op&)> label_;
  std::function<double(const ops::Op&)> least_seconds_;
  std::map<std::string, OpProfile> rows_;
  bool watching_ = true;
};

}  // namespace vretnet
