// Work that queues the same ops every time: op by op the first time, when libraries choose and set up what
// they need; noted the second time, where the machine can; replayed from then on.
#pragma once

#include <memory>
#include <utility>

#include "core/ops/backend.h"

namespace vretnet {

class Recorded {
 public:
  // walk() runs ops and fills on `backend` and does nothing else on it. A replay repeats what the noted call
  // did, on the same memory.
  template <class Walk>
  void run(Backend& backend, const Walk& walk) {
    if (recording_) return recording_->replay();
    if (!std::exchange(ran_, true) || !backend.records()) return walk();
    backend.begin_recording();
    try {
      walk();
    } catch (...) {
      backend.end_recording();
      throw;
    }
    recording_ = backend.end_recording();
    recording_->replay();
  }
  // The memory that the walk uses has moved.
  void forget() { recording_.reset(); }

 private:
  bool ran_ = false;
  std::unique_ptr<Recording> recording_;
};

}  // namespace vretnet
