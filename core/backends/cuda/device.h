// One CUDA device: found, checked and described; and what its calls can fail with.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

namespace vretnet::cuda {

// Throws RunError "CUDA: <doing>: <the runtime's words>" unless `error` is success; where memory is short,
// with how much of the current device's is free.
void require(cudaError_t error, const char* doing);

// Memory of the current device, for cudaFree. Throws OutOfMemory (core/ops/backend.h) with what was asked
// for, what for, and what is free.
void* take_memory(std::size_t bytes, const char* purpose = "");

struct Device {
  int index = 0;
  std::string name;  // "NVIDIA H100"
  int major = 0, minor = 0;
  std::size_t memory = 0;           // bytes
  double flops = 0, bandwidth = 0;  // f32 FLOP/s without tensor cores, bytes a second of its memory, at most
  int driver = 0, runtime = 0;

  // The device after checks. Throws UsageError saying what was found and what is needed: no driver, one too
  // old, no device with this index, a device below compute capability 8.0.
  static Device open(int index);
  // "NVIDIA H100, 79.1 GiB, compute capability 9.0, CUDA 13.0"
  std::string description() const;
  void make_current() const;
};

// Streams and events that end with their owner.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }
  void synchronize() const;

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  explicit Event(unsigned flags = cudaEventDisableTiming);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(const Stream& stream);           // everything queued so far
  void make_wait(const Stream& stream) const;  // the stream goes on when that is done
  void synchronize() const;
  double seconds_since(const Event& earlier) const;  // both made with timing and reached

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace vretnet::cuda
