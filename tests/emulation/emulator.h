// Runs a CUDA kernel on the host: every thread of a block is a fiber, so that barriers and shuffles keep
// their meaning. One block after the other, one thread at a time; a thread runs until it waits for others or
// ends, and the schedule says who comes next. Shared memory is full of NaN before a block and has red zones
// around it.
//
// What CUDA leaves undefined is a violation: it is noted with the kernel's place, and every later
// synchronization of the fake runtime fails until reset() is called.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace vretnet::emulation {

enum class Order : std::uint8_t { ascending, descending, random };

// In which order threads that could go on do so, and blocks follow one another.
struct Schedule {
  Order order = Order::ascending;
  std::uint64_t seed = 0;
};
void set_schedule(const Schedule& schedule);
const Schedule& schedule();
std::string text_of(const Schedule& schedule);

struct Grid {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
};

// Calls `thread` once for every thread of the grid. Not reentrant; the caller holds the device's lock.
void run_grid(const Grid& grid, const std::function<void()>& thread);

// -------------------------------------------------------------------------- for kernels, by the twin of
// gpu.h

inline constexpr int kWarp = 32;

void block_barrier();
void warp_barrier(unsigned mask);
// Each lane gives 8 bytes and gets those of lane `from`.
std::uint64_t shuffle(unsigned mask, std::uint64_t value, int from);
// What all lanes give, in their order, until the next call of a warp operation but one.
const std::uint64_t* gather_of_warp(std::uint64_t value);
float* shared_memory();
void note_violation(const std::string& text);
bool in_kernel();  // whether the calling code is a thread of a running grid

// ------------------------------------------------------------------------------------------- for tests

const std::vector<std::string>& violations();
void reset();  // forgets violations

// What watches a kernel (the hook checker): told where a block's shared memory lies, and when threads meet.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void begin_grid(const Grid& grid) = 0;
  virtual void begin_block(const float* shared, std::size_t bytes) = 0;
  virtual void meet_block() = 0;
  virtual void meet_warp(int warp) = 0;
  virtual void end_grid() = 0;
};
void set_observer(Observer* observer);  // null: none

// An injected defect: no thread meets its barrier number `block` (__syncthreads) or `warp` (__syncwarp),
// counted from 0 in every block; negative: none.
struct Skipped {
  int block = -1, warp = -1;
};
void skip_barriers(const Skipped& skipped);
// How many barriers of each kind the threads of grids have met at most since the last call.
Skipped most_barriers();

struct Running {
  std::int64_t block;  // linear index of the running block and thread
  int thread;
  const char* stack_begin;
  const char* stack_end;
};
const Running& running();

}  // namespace vretnet::emulation
