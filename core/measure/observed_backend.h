// Watches a model at work: how much tensor memory it holds, and (while recording) which ops it runs.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "core/ops/decorator.h"

namespace vretnet::measure {

class ObservedBackend : public BackendDecorator {
 public:
  using BackendDecorator::BackendDecorator;

  void run(const ops::Op& op) override {
    if (recording_) recorded_.push_back(op);
    inner().run(op);
  }
  void* allocate(std::size_t bytes) override;
  void release(void* data) override;

  // Memory that was asked of the backend: weights, activations, gradients, moments, tables, workspaces. What
  // a backend keeps for itself (Backend::kept_bytes, compiled kernels) is not in it.
  std::size_t bytes() const { return bytes_; }
  std::size_t peak_bytes() const { return peak_bytes_; }

  void record(bool on) { recording_ = on; }
  // The ops that ran while recording. Their views stay valid as long as the memory that they were run on.
  const std::vector<ops::Op>& recorded() const { return recorded_; }

 private:
  std::map<void*, std::size_t> sizes_;
  std::size_t bytes_ = 0, peak_bytes_ = 0;
  bool recording_ = false;
  std::vector<ops::Op> recorded_;
};

}  // namespace vretnet::measure
