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
  std::size_t kept_bytes() const override { return inner_.kept_bytes(); }
  bool favours_integers() const override { return inner_.favours_integers(); }
  void synchronize() override { inner_.synchronize(); }
  bool records() const override { return inner_.records(); }
  void begin_recording() override { inner_.begin_recording(); }
  std::unique_ptr<Recording> end_recording() override { return inner_.end_recording(); }
  Communicator* communicator() override { return inner_.communicator(); }
  bool has_clock() const override { return inner_.has_clock(); }
  void start_clock() override { inner_.start_clock(); }
  double read_clock() override { return inner_.read_clock(); }
  Peaks peaks() const override { return inner_.peaks(); }
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
