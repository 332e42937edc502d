#include "tests/emulation/emulator.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <boost/context/detail/fcontext.hpp>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "core/base/ensure.h"
#include "core/base/random.h"
#include "tests/emulation/fiber_sanitizer.h"
#include "tests/emulation/hidden_memory.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace vretnet::emulation {
namespace {

namespace context = boost::context::detail;

constexpr int kMaxThreads = 1024;
constexpr std::size_t kStackBytes = std::size_t{256} << 10;
constexpr std::size_t kRedZone = 256;  // floats around the shared memory
constexpr float kRed = -98765.4f;

enum class State : std::uint8_t { ready, at_warp_barrier, at_block_barrier, finished };

struct Thread {
  context::fcontext_t resume = nullptr;
  State state = State::ready;
  int block_barriers = 0, warp_barriers = 0, shuffles = 0;  // how many it has reached
  bool shuffling = false;                                   // what it waits for in its warp
  FiberStack stack;
};

struct Warp {
  int waiting = 0;
  std::uint64_t slots[2][kWarp];  // one for every other barrier, so that a fast lane disturbs no slow one
};

class Machine {
 public:
  Machine() {
    void* memory = mmap(nullptr, kMaxThreads * kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ensure(memory != MAP_FAILED, "no memory for the stacks of {} fibers", kMaxThreads);
    stacks_ = static_cast<char*>(memory);
  }

  void run(const Grid& grid, const std::function<void()>& body) {
    const int count = static_cast<int>(grid.block.x * grid.block.y * grid.block.z);
    ensure(count > 0 && count <= kMaxThreads && count % kWarp == 0, "blocks of {} threads are no full warps",
           count);
    grid_ = grid;
    body_ = &body;
    blockDim = grid.block;
    gridDim = grid.grid;
    threads_.resize(static_cast<std::size_t>(count));
    warps_.assign(static_cast<std::size_t>(count / kWarp), {});
    shared_.resize(grid.shared_bytes / sizeof(float) + 2 * kRedZone + 8);
    if (observer_) observer_->begin_grid(grid);
    random_ = Random(schedule_.seed, {++grids_});
    const std::int64_t blocks = std::int64_t{grid.grid.x} * grid.grid.y * grid.grid.z;
    std::vector<std::int64_t> order(static_cast<std::size_t>(blocks));
    std::iota(order.begin(), order.end(), 0);
    if (schedule_.order == Order::descending) std::reverse(order.begin(), order.end());
    if (schedule_.order == Order::random) {
      for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random_.below(i)]);
    }
    for (const std::int64_t block : order) {
      run_block(block);
      if (stopped_) break;
    }
    if (observer_) observer_->end_grid();
    stopped_ = false;
  }

  void wait(State state) {
    Thread& thread = threads_[static_cast<std::size_t>(running_.thread)];
    thread.state = state;
    leave_fiber(thread.stack, /*for_good=*/false);
    scheduler_ = context::jump_fcontext(scheduler_, nullptr).fctx;
    arrive_in_fiber(thread.stack);
  }

  void barrier_of_block() {
    if (current().block_barriers++ == skipped_.block) return;
    most_.block = std::max(most_.block, current().block_barriers);
    wait(State::at_block_barrier);
  }
  void barrier_of_warp(unsigned mask) {
    if (current().warp_barriers++ == skipped_.warp) return;
    most_.warp = std::max(most_.warp, current().warp_barriers);
    meet_warp(mask, /*shuffling=*/false);
  }
  const std::uint64_t* gather(unsigned mask, std::uint64_t value) {
    Warp& warp = warps_[static_cast<std::size_t>(running_.thread / kWarp)];
    auto& slots = warp.slots[current().shuffles++ % 2];
    slots[running_.thread % kWarp] = value;
    meet_warp(mask, /*shuffling=*/true);
    return slots;
  }

  float* shared() { return aligned_shared(); }
  bool active() const { return active_; }
  const Running& running() const { return running_; }
  void stop() { stopped_ = true; }

  Schedule schedule_;
  Observer* observer_ = nullptr;
  Skipped skipped_, most_{0, 0};

 private:
  void meet_warp(unsigned mask, bool shuffling) {
    if (mask != 0xffffffffu) note_violation(fmt::format("a warp operation with the mask {:#x}", mask));
    current().shuffling = shuffling;
    wait(State::at_warp_barrier);
  }
  Thread& current() { return threads_[static_cast<std::size_t>(running_.thread)]; }

  float* aligned_shared() {
    const auto address = reinterpret_cast<std::uintptr_t>(shared_.data() + kRedZone);
    return reinterpret_cast<float*>((address + 31) / 32 * 32);
  }

  static void enter(context::transfer_t from) {
    Machine& machine = *static_cast<Machine*>(from.data);
    machine.scheduler_ = from.fctx;
    Thread& thread = machine.current();
    arrive_in_fiber(thread.stack);
    (*machine.body_)();
    thread.state = State::finished;
    leave_fiber(thread.stack, /*for_good=*/true);
    context::jump_fcontext(machine.scheduler_, nullptr);
  }

  void run_block(std::int64_t block) {
    const std::size_t floats = grid_.shared_bytes / sizeof(float);
    float* shared = aligned_shared();
    std::fill(shared_.begin(), shared_.end(), kRed);
    std::fill_n(shared, floats, std::numeric_limits<float>::quiet_NaN());
    hide_memory(shared_.data(), shared_.size() * sizeof(float));
    show_memory(shared, floats * sizeof(float));
    blockIdx = {static_cast<unsigned>(block % gridDim.x),
                static_cast<unsigned>(block / gridDim.x % gridDim.y),
                static_cast<unsigned>(block / gridDim.x / gridDim.y)};
    running_.block = block;
    if (observer_) observer_->begin_block(shared, floats * sizeof(float));
    const int count = static_cast<int>(threads_.size());
    ready_.clear();
    head_of_ready_ = 0;
    for (int i = 0; i < count; ++i) {
      Thread& thread = threads_[static_cast<std::size_t>(i)];
      char* bottom = stacks_ + static_cast<std::size_t>(i) * kStackBytes;
      thread.stack = {bottom, kStackBytes, nullptr};
      thread.resume = context::make_fcontext(bottom + kStackBytes, kStackBytes, &Machine::enter);
      thread.state = State::ready;
      thread.block_barriers = thread.warp_barriers = thread.shuffles = 0;
      ready_.push_back(i);
    }
    for (Warp& warp : warps_) warp.waiting = 0;
    int finished = 0, at_barrier = 0;
    active_ = true;
    while (finished < count && !stopped_) {
      if (ready_.empty()) {
        report_deadlock(finished);
        break;
      }
      const int next = take_next();
      resume(next);
      switch (threads_[static_cast<std::size_t>(next)].state) {
        case State::finished:
          ++finished;
          break;
        case State::at_warp_barrier:
          if (++warps_[static_cast<std::size_t>(next / kWarp)].waiting == kWarp) release_warp(next / kWarp);
          break;
        case State::at_block_barrier:
          if (++at_barrier == count) {
            at_barrier = 0;
            if (observer_) observer_->meet_block();
            for (int i = 0; i < count; ++i) make_ready(i);
          }
          break;
        case State::ready:
          break;
      }
    }
    active_ = false;
    if (finished < count) {
      for (const Thread& thread : threads_) abandon_fiber(thread.stack);
    }
    show_memory(shared_.data(), shared_.size() * sizeof(float));
    const float* end = shared + floats;
    for (const float* red = shared_.data(); red < shared_.data() + shared_.size(); ++red) {
      if ((red < shared || red >= end) && *red != kRed) {
        note(fmt::format("shared memory was written at float {} of {}", red - shared, floats));
        break;
      }
    }
  }

  void release_warp(int warp) {
    warps_[static_cast<std::size_t>(warp)].waiting = 0;
    const auto first = threads_.begin() + warp * kWarp;
    const bool shuffling = first->shuffling;
    if (std::any_of(first, first + kWarp, [&](const Thread& lane) { return lane.shuffling != shuffling; })) {
      note("lanes of a warp meet in a shuffle and in __syncwarp");
    }
    if (observer_ && !shuffling) observer_->meet_warp(warp);  // a shuffle orders no memory
    for (int lane = 0; lane < kWarp; ++lane) make_ready(warp * kWarp + lane);
  }
  void make_ready(int thread) {
    threads_[static_cast<std::size_t>(thread)].state = State::ready;
    ready_.push_back(thread);
  }

  int take_next() {
    std::size_t at = 0;
    if (schedule_.order == Order::descending) at = ready_.size() - 1;
    if (schedule_.order == Order::random) at = random_.below(ready_.size());
    if (schedule_.order == Order::ascending) {  // the first in, the first out
      const int next = ready_[head_of_ready_];
      if (++head_of_ready_ == ready_.size()) ready_.clear(), head_of_ready_ = 0;
      return next;
    }
    const int next = ready_[at];
    ready_[at] = ready_.back();
    ready_.pop_back();
    return next;
  }

  void resume(int index) {
    Thread& thread = threads_[static_cast<std::size_t>(index)];
    threadIdx = {static_cast<unsigned>(index) % blockDim.x,
                 static_cast<unsigned>(index) / blockDim.x % blockDim.y,
                 static_cast<unsigned>(index) / blockDim.x / blockDim.y};
    running_.thread = index;
    running_.stack_begin = stacks_ + static_cast<std::size_t>(index) * kStackBytes;
    running_.stack_end = running_.stack_begin + kStackBytes;
    switch_to_fiber(thread.stack);
    thread.resume = context::jump_fcontext(thread.resume, this).fctx;
    return_from_fiber(thread.stack);
  }

  void report_deadlock(int finished) {
    int at_warp = 0, at_block = 0;
    for (const Thread& thread : threads_) {
      at_warp += thread.state == State::at_warp_barrier;
      at_block += thread.state == State::at_block_barrier;
    }
    note(fmt::format(
        "a barrier that not all threads reach: {} wait in __syncthreads, {} in a warp, {} have ended",
        at_block, at_warp, finished));
    stopped_ = true;
  }
  void note(const std::string& text) { note_violation(text); }

  char* stacks_;
  Grid grid_;
  const std::function<void()>* body_ = nullptr;
  context::fcontext_t scheduler_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<float> shared_;
  std::vector<int> ready_;
  std::size_t head_of_ready_ = 0;
  Running running_{};
  Random random_{0};
  std::uint64_t grids_ = 0;
  bool active_ = false, stopped_ = false;
};

Machine& machine() {
  static Machine the_machine;
  return the_machine;
}

std::vector<std::string>& noted() {
  static std::vector<std::string> texts;
  return texts;
}

}  // namespace

void set_schedule(const Schedule& schedule) {
  machine().schedule_ = schedule;
}
const Schedule& schedule() {
  return machine().schedule_;
}
std::string text_of(const Schedule& schedule) {
  switch (schedule.order) {
    case Order::ascending:
      return "ascending";
    case Order::descending:
      return "descending";
    default:
      return fmt::format("random{}", schedule.seed);
  }
}

void run_grid(const Grid& grid, const std::function<void()>& thread) {
  machine().run(grid, thread);
}

void block_barrier() {
  machine().barrier_of_block();
}
void warp_barrier(unsigned mask) {
  machine().barrier_of_warp(mask);
}
std::uint64_t shuffle(unsigned mask, std::uint64_t value, int from) {
  return machine().gather(mask, value)[from];
}
const std::uint64_t* gather_of_warp(std::uint64_t value) {
  return machine().gather(0xffffffffu, value);
}
float* shared_memory() {
  return machine().shared();
}
bool in_kernel() {
  return machine().active();
}
const Running& running() {
  return machine().running();
}
void set_observer(Observer* observer) {
  machine().observer_ = observer;
}

void skip_barriers(const Skipped& skipped) {
  machine().skipped_ = skipped;
}
Skipped most_barriers() {
  return std::exchange(machine().most_, {0, 0});
}

void note_violation(const std::string& text) {
  constexpr std::size_t kEnough = 20;
  if (noted().size() < kEnough) {
    const auto place = machine().active()
                           ? fmt::format(" (block {}, thread {})", running().block, running().thread)
                           : std::string();
    noted().push_back(text + place);
  }
}
const std::vector<std::string>& violations() {
  return noted();
}
void reset() {
  noted().clear();
}

}  // namespace vretnet::emulation
