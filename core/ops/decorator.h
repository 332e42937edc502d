// A backend that passes everything on to another one: the base of those that watch.
#pragma once

#include "core/ops/backend.h"

namespace vretnet {

// Does not own `inner`, which must outlive it.
class BackendDecorator : public Backend {
 public:
  explicit BackendDecorator(Backend& inner) : inner_(inner) {}

  std::string name() const override { return inner_.name(); }
  std::string description() const override { return inner_.description(); }
  bool runs_in(DType dtype) const override { return inner_.runs_in(dtype); }
  void run(const ops::Op& op) override { inner_.run(op); }
  std::size_t workspace_bytes(const ops::Op& op) const override { return inner_.workspace_bytes(op); }
  void weights_changed() override { inner_.weights_changed(); }
  void synchronize() override { inner_.synchronize(); }
  void* allocate(std::size_t bytes) override { return inner_.allocate(bytes); }
  void release(void* data) override { inner_.release(data); }
  void upload(const View& target, const void* host) override { inner_.upload(target, host); }
  void download(const View& source, void* host) override { inner_.download(source, host); }
  void fill(const View& target, double value) override { inner_.fill(target, value); }

 protected:
  Backend& inner() { return inner_; }

 private:
  Backend& inner_;
};

}  // namespace vretnet
