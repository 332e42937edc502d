// What machines that train one model together do with each other's numbers.
#pragma once

#include "core/tensor/view.h"

namespace vretnet {

// One machine's end of a group, reached through its backend. All machines of the group ask for the same sums
// in the same order, each from a thread of its own: a sum waits for all of them. May be part of a recording.
class Communicator {
 public:
  virtual ~Communicator() = default;

  // x = Σ x over the machines, in place, the same bits on each. x is a contiguous f32 view. Begins when all
  // that the backend was given so far has run, and runs beside what it is given from now on.
  virtual void begin_sum(const View& x) = 0;
  // What the backend is given from now on waits for all sums.
  virtual void wait_for_sums() = 0;
  // Ends sums that wait for a machine which failed; from any thread. Nothing can be summed afterwards.
  virtual void abort() = 0;
};

}  // namespace vretnet
