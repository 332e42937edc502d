// How long each kind of op takes on a backend.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/ops/decorator.h"

namespace vretnet {

struct OpProfile {
  std::string op;  // "Gemm", or with its shapes: "Gemm 197x768x192 gelu"
  std::int64_t calls = 0;
  double seconds = 0, flops = 0, bytes = 0;  // sums over the calls
};

// Waits for every op, so that its time is its own: by the machine's clock where it has one.
class ProfiledBackend : public BackendDecorator {
 public:
  // Ops of one label share a row.
  explicit ProfiledBackend(Backend& inner, std::function<std::string(const ops::Op&)> label = ops::name_of)
      : BackendDecorator(inner), label_(std::move(label)) {}

  void run(const ops::Op& op) override;
  bool records() const override { return false; }  // what is replayed cannot be timed op by op

  std::vector<OpProfile> profile() const;  // rows that ran, the longest time first
  void reset() { rows_.clear(); }
  void watch(bool on) { watching_ = on; }  // at first on; while off, ops are passed on and not counted

 private:
  std::function<std::string(const ops::Op&)> label_;
  std::map<std::string, OpProfile> rows_;
  bool watching_ = true;
};

}  // namespace vretnet
