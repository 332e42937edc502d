// A machine that runs ops. CPU backends run an op before `run` returns; others may queue it, in order.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "core/base/error.h"
#include "core/ops/ops.h"

namespace vretnet {

class Communicator;

// A machine has not the memory that it was asked for.
struct OutOfMemory : RunError {
  OutOfMemory(const std::string& message, std::size_t free_bytes) : RunError(message), free(free_bytes) {}
  std::size_t free;  // bytes
};

// What a machine can do at most in a second by what is known of its kind; 0: nothing is known.
struct Peaks {
  double flops = 0;  // f32 multiply-adds, two each
  double bytes = 0;  // to and from its memory
};

// Ops that a machine has noted and runs again in one go. It must not outlive its backend.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string name() const = 0;         // "onednn"
  virtual std::string description() const = 0;  // "oneDNN 2.6.3, 2 threads, AVX-512"
  // Whether ops may run in this dtype.
  virtual bool runs_in(DType dtype) const { return dtype == DType::f32; }

  // Runs one op. The op's views, workspace included, must stay valid until it has run.
  virtual void run(const ops::Op& op) = 0;
  // Bytes of op.workspace that `run` needs; depends on shapes and options only, never on contents.
  virtual std::size_t workspace_bytes(const ops::Op& op) const = 0;
  // Weights changed, by an upload or by an optimizer's step: copies of constant operands (Gemm::constant_b)
  // are old.
  virtual void weights_changed() {}
  // Bytes that it keeps beside what was asked of allocate: weights in another layout.
  virtual std::size_t kept_bytes() const { return 0; }
  // Whether QuantizedGemm is faster here than the same Gemm: what `--precision auto` goes by.
  virtual bool favours_integers() const { return false; }
  virtual void synchronize() {}

  // Whether the machine gains by recordings. Between begin_recording and end_recording `run` and `fill` are
  // noted and do nothing yet, and nothing else may be called; replay() then runs them on the same views.
  virtual bool records() const { return false; }
  virtual void begin_recording() {}
  virtual std::unique_ptr<Recording> end_recording() { return nullptr; }

  // The machines that this one trains with; null: none (core/ops/communicator.h).
  virtual Communicator* communicator() { return nullptr; }

  // The machine's own clock, where ops are queued: read_clock() waits for what was queued since start_clock()
  // and gives the seconds that it took there.
  virtual bool has_clock() const { return false; }
  virtual void start_clock() {}
  virtual double read_clock() { return 0; }
  virtual Peaks peaks() const { return {}; }

  // Memory, 64-byte aligned, content undefined. Throws OutOfMemory, or RunError saying how much was asked.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* data) = 0;
  virtual void upload(const View& target, const void* host) = 0;  // contiguous views
  virtual void download(const View& source, void* host) = 0;
  virtual void fill(const View& target, double value) = 0;  // contiguous views
};

// Memory of a backend that belongs to one owner and is released with it.
class Allocation {
 public:
  Allocation() = default;
  Allocation(Backend& backend, std::size_t bytes);
  Allocation(Backend& backend, DType dtype, const Shape& shape);  // `view()` is the whole, filled with 0
  Allocation(Allocation&& other) noexcept;
  Allocation& operator=(Allocation&& other) noexcept;
  ~Allocation();

  const Buffer* buffer() const { return buffer_.get(); }
  const View& view() const { return view_; }

 private:
  Backend* backend_ = nullptr;
  std::unique_ptr<Buffer> buffer_;  // its address is stable: views point to it
  View view_;
};

// Sets op.workspace to the first bytes of `workspace` where the op has one.
void set_workspace(ops::Op& op, const View& workspace);

}  // namespace vretnet
