// A dry run: nothing is computed and no memory is taken, but every op is validated and counted, and
// workspaces are as large as the real backend asks for. Sizes arenas; counts FLOPs for `info`.
#pragma once

#include <cstdint>

#include "core/ops/decorator.h"

namespace vretnet {

class MeasuringBackend : public BackendDecorator {
 public:
  explicit MeasuringBackend(Backend& real) : BackendDecorator(real) {}

  void run(const ops::Op& op) override;
  void weights_changed() override {}
  void synchronize() override {}
  bool records() const override { return false; }
  void* allocate(std::size_t) override { return nullptr; }
  void release(void*) override {}
  void upload(const View&, const void*) override {}
  void fill(const View&, double) override {}
  void download(const View& source, void* host) override;  // a broken promise: there is nothing to read

  std::int64_t runs() const { return runs_; }
  double flops() const { return flops_; }
  double bytes() const { return bytes_; }
  std::size_t largest_workspace() const { return largest_workspace_; }

 private:
  std::int64_t runs_ = 0;
  double flops_ = 0, bytes_ = 0;
  std::size_t largest_workspace_ = 0;
};

}  // namespace vretnet
