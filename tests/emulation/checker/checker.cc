#include "tests/emulation/checker/checker.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "tests/emulation/emulator.h"
#include "tests/emulation/fake/runtime.h"

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace vretnet::emulation {
namespace {

constexpr std::uintptr_t kWord = 2, kBankBytes = 4, kSector = 32;  // kWord: the smallest that kernels touch
constexpr std::size_t kPageWords = 1024;
constexpr int kBanks = 32;

// Who touched a word, and when: the grid, and how many barriers block and warp had met by then.
struct Stamp {
  std::uint64_t grid = 0;
  std::int64_t block = -1;
  int thread = -1;
  std::uint32_t block_epoch = 0, warp_epoch = 0;
};
struct Word {
  Stamp written, read;
  bool initialized = false;
  bool many_lanes = false;  // lanes of the first reader's warp beside it have read since
  bool many_warps = false;  // other warps have
};

int warp_of(int thread) {
  return thread / kWarp;
}

class Watch final : public Observer, public MemoryObserver {
 public:
  explicit Watch(bool counts) : counts_(counts) {}

  // ------------------------------------------------------------------------------------------ Observer
  void begin_grid(const Grid& grid) override {
    ++now_.grid;
    warp_epochs_.assign(grid.block.x * grid.block.y * grid.block.z / kWarp, 0);
  }
  void begin_block(const float* shared, std::size_t bytes) override {
    shared_ = reinterpret_cast<std::uintptr_t>(shared);
    shared_bytes_ = bytes;
    shared_words_.assign(bytes / kWord + 1, {});
    ++block_epoch_;
    flush();
  }
  void meet_block() override { ++block_epoch_; }
  void meet_warp(int warp) override { ++warp_epochs_[static_cast<std::size_t>(warp)]; }
  void end_grid() override { flush(); }

  // ------------------------------------------------------------------------------------ MemoryObserver
  // Words that nobody touched yet have no page: only those that were of other memory before are forgotten.
  void allocated(const void* data, std::size_t bytes) override {
    const auto begin = reinterpret_cast<std::uintptr_t>(data) / kWord,
               end = begin + (bytes + kWord - 1) / kWord;
    for (std::uintptr_t page = begin / kPageWords; page * kPageWords < end; ++page) {
      const auto found = pages_.find(page);
      if (found == pages_.end()) continue;
      const std::uintptr_t first = std::max(begin, page * kPageWords),
                           last = std::min(end, (page + 1) * kPageWords);
      for (std::uintptr_t word = first; word < last; ++word) (*found->second)[word % kPageWords] = {};
    }
  }
  void released(const void*) override {}
  void written(const void* data, std::size_t bytes) override {
    for_each_word(data, bytes, [](Word& word) {
      word = {};
      word.initialized = true;
    });
  }

  // ------------------------------------------------------------------------------------------ accesses
  void access(const void* data, std::size_t bytes, bool writes, const void* place) {
    const auto address = reinterpret_cast<std::uintptr_t>(data);
    const Running& thread = running();
    const char* character = static_cast<const char*>(data);
    if (character >= thread.stack_begin && character < thread.stack_end) return;
    if (is_launch_variable(character)) return;
    now_.block = thread.block;
    now_.thread = thread.thread;
    now_.block_epoch = block_epoch_;
    now_.warp_epoch = warp_epochs_[static_cast<std::size_t>(warp_of(thread.thread))];
    const bool shared = address >= shared_ && address < shared_ + shared_bytes_;
    if (!shared && !is_device_memory(data, bytes)) {
      const Block* block = Runtime::get().find(data, bytes);
      note_violation(block != nullptr && block->device >= 0
                         ? fmt::format("another device: {} of memory of device {} by a kernel of device {}",
                                       writes ? "a write" : "a read", block->device,
                                       Runtime::get().running_device())
                         : fmt::format("out of bounds: {} of {} bytes that are no memory of the kernel",
                                       writes ? "a write" : "a read", bytes));
      return;
    }
    if (shared && address + bytes > shared_ + shared_bytes_)
      note_violation("out of bounds: beyond shared memory");
    for (std::uintptr_t at = address; at < address + bytes; at += kWord) {
      Word& word = shared ? shared_words_[(at - shared_) / kWord] : word_at(at);
      writes ? write(word, shared) : read(word, shared);
    }
    if (counts_) count(address, bytes, shared, place);
  }

  const Checker::Counters& counters() {
    flush();
    return counters_;
  }

 private:
  static bool is_launch_variable(const char* character) {
    const auto within = [&](const auto& variable) {
      const char* begin = reinterpret_cast<const char*>(&variable);
      return character >= begin && character < begin + sizeof variable;
    };
    return within(threadIdx) || within(blockIdx) || within(blockDim) || within(gridDim);
  }
  bool is_device_memory(const void* data, std::size_t bytes) {
    const auto address = reinterpret_cast<std::uintptr_t>(data);
    if (address >= last_block_ && address + bytes <= last_block_end_ && last_grid_ == now_.grid) return true;
    const auto& blocks = Runtime::get().blocks();
    auto next = blocks.upper_bound(address);
    if (next == blocks.begin()) return false;
    --next;
    if (next->second.device != Runtime::get().running_device() ||
        address + bytes > next->first + next->second.bytes) {
      return false;
    }
    last_block_ = next->first;
    last_block_end_ = next->first + next->second.bytes;
    last_grid_ = now_.grid;
    return true;
  }

  Word& word_at(std::uintptr_t address) {
    const std::uintptr_t index = address / kWord, page = index / kPageWords;
    if (page != last_page_ || last_words_ == nullptr) {
      auto& words = pages_[page];
      if (!words) words = std::make_unique<std::array<Word, kPageWords>>();
      last_page_ = page;
      last_words_ = words.get();
    }
    return (*last_words_)[index % kPageWords];
  }
  template <class Visit>
  void for_each_word(const void* data, std::size_t bytes, const Visit& visit) {
    const auto begin = reinterpret_cast<std::uintptr_t>(data);
    for (std::uintptr_t at = begin; at < begin + bytes; at += kWord) visit(word_at(at));
  }

  // Whether nothing orders an earlier access and the present one.
  bool concurrent(const Stamp& earlier) const {
    if (earlier.grid != now_.grid || earlier.thread < 0) return false;
    if (earlier.block != now_.block) return true;
    if (earlier.block_epoch != now_.block_epoch || earlier.thread == now_.thread) return false;
    return warp_of(earlier.thread) != warp_of(now_.thread) || earlier.warp_epoch == now_.warp_epoch;
  }

  void read(Word& word, bool shared) {
    const char* memory = shared ? "shared" : "global";
    if (!word.initialized) {
      note_violation(fmt::format("uninitialised: a read of {} memory that nothing wrote", memory));
      word.initialized = true;  // said once
    }
    if (concurrent(word.written)) {
      note_violation(fmt::format("race: a read of {} memory that thread {} of block {} writes", memory,
                                 word.written.thread, word.written.block));
    }
    const Stamp& first = word.read;
    const bool same_interval = first.grid == now_.grid && first.block == now_.block &&
                               first.block_epoch == now_.block_epoch && first.thread >= 0;
    if (first.grid == now_.grid && first.thread >= 0 && first.block != now_.block) {
      word.many_warps = true;  // and more: other blocks
      return;
    }
    if (!same_interval) {
      word.read = now_;
      word.many_lanes = word.many_warps = false;
    } else if (warp_of(first.thread) != warp_of(now_.thread)) {
      word.many_warps = true;
    } else if (first.warp_epoch != now_.warp_epoch) {
      word.read = now_;
      word.many_lanes = false;
    } else if (first.thread != now_.thread) {
      word.many_lanes = true;
    }
  }

  void write(Word& word, bool shared) {
    const char* memory = shared ? "shared" : "global";
    if (concurrent(word.written)) {
      note_violation(fmt::format("race: a write of {} memory that thread {} of block {} writes too", memory,
                                 word.written.thread, word.written.block));
    }
    const Stamp& reader = word.read;
    const bool same_interval = reader.grid == now_.grid && reader.thread >= 0 &&
                               (reader.block != now_.block || reader.block_epoch == now_.block_epoch);
    const bool other_lane = word.many_lanes && warp_of(reader.thread) == warp_of(now_.thread) &&
                            reader.warp_epoch == now_.warp_epoch;
    if (same_interval && (concurrent(reader) || word.many_warps || other_lane)) {
      note_violation(fmt::format("race: a write of {} memory that thread {} of block {} reads", memory,
                                 reader.thread, reader.block));
    }
    word.written = now_;
    word.initialized = true;
  }

  // ------------------------------------------------------------------------------- sectors and banks
  // The k-th time that lanes of a warp come to one place they come together.
  struct Instruction {
    bool shared = false;
    std::vector<std::pair<std::uintptr_t, std::size_t>> accesses;
  };
  void count(std::uintptr_t address, std::size_t bytes, bool shared, const void* place) {
    const auto thread = static_cast<std::uint64_t>(now_.thread);
    const auto at = reinterpret_cast<std::uint64_t>(place);
    const std::uint32_t turn = turns_[at * 1024 + thread]++;
    Instruction& instruction = instructions_[{at, thread / kWarp, turn}];
    instruction.shared = shared;
    instruction.accesses.emplace_back(address, bytes);
  }
  void flush() {
    for (const auto& [key, instruction] : instructions_) {
      std::set<std::uintptr_t> touched;
      for (const auto& [address, bytes] : instruction.accesses) {
        const std::uintptr_t unit = instruction.shared ? kBankBytes : kSector;
        for (std::uintptr_t at = address / unit; at <= (address + bytes - 1) / unit; ++at) touched.insert(at);
      }
      if (instruction.shared) {
        std::array<std::int64_t, kBanks> words{};
        for (const std::uintptr_t word : touched) ++words[word % kBanks];
        counters_.wavefronts += *std::max_element(words.begin(), words.end());
        counters_.least_wavefronts += (static_cast<std::int64_t>(touched.size()) + kBanks - 1) / kBanks;
      } else {
        std::set<std::uintptr_t> needed;
        for (const auto& [address, bytes] : instruction.accesses) {
          for (std::uintptr_t at = address / kWord; at <= (address + bytes - 1) / kWord; ++at)
            needed.insert(at);
        }
        counters_.sectors += static_cast<std::int64_t>(touched.size());
        counters_.least_sectors += (static_cast<std::int64_t>(needed.size() * kWord) + kSector - 1) / kSector;
      }
    }
    instructions_.clear();
    turns_.clear();
  }

  bool counts_;
  Stamp now_;
  std::uint32_t block_epoch_ = 0;
  std::vector<std::uint32_t> warp_epochs_;
  std::uintptr_t shared_ = 0;
  std::size_t shared_bytes_ = 0;
  std::vector<Word> shared_words_;
  std::unordered_map<std::uintptr_t, std::unique_ptr<std::array<Word, kPageWords>>> pages_;
  std::uintptr_t last_page_ = 0, last_block_ = 0, last_block_end_ = 0;
  std::uint64_t last_grid_ = 0;
  std::array<Word, kPageWords>* last_words_ = nullptr;
  std::unordered_map<std::uint64_t, std::uint32_t> turns_;
  std::map<std::array<std::uint64_t, 3>, Instruction> instructions_;
  Checker::Counters counters_;
};

std::unique_ptr<Watch> the_watch;

}  // namespace

Checker::Checker(bool counts) {
  the_watch = std::make_unique<Watch>(counts);
  set_observer(the_watch.get());
  set_memory_observer(the_watch.get());
}
Checker::~Checker() {
  set_observer(nullptr);
  set_memory_observer(nullptr);
  the_watch.reset();
}
const Checker::Counters& Checker::counters() const {
  return the_watch->counters();
}

// For the hooks.
void watch_access(const void* data, std::size_t bytes, bool writes, const void* place) {
  if (the_watch && in_kernel()) the_watch->access(data, bytes, writes, place);
}

}  // namespace vretnet::emulation
