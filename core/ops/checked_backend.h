// A CPU backend under suspicion: for tests and for hunting a NaN. Slow.
#pragma once

#include <map>

#include "core/ops/decorator.h"

namespace vretnet {

// Before an op: validate(op), and its workspace is large enough and full of NaN. After it: no output holds
// NaN or Inf, and the guard bytes around every allocation are untouched. Fresh memory is NaN. A wrong op or a
// broken guard stops the program (a bug of ours); NaN or Inf throws RunError naming the op, the output and
// the place, because data and learning rates can cause it too.
class CheckedBackend : public BackendDecorator {
 public:
  using BackendDecorator::BackendDecorator;

  void run(const ops::Op& op) override;
  bool records() const override { return false; }  // every op is looked at
  void* allocate(std::size_t bytes) override;
  void release(void* data) override;

 private:
  void check_guards(const char* op) const;

  std::map<void*, std::size_t> allocations_;  // what we gave out, in bytes
};

}  // namespace vretnet
