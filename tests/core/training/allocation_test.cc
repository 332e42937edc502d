// A step of training, an inference and a row of a stream take no memory of ours: operator new, posix_memalign
// and aligned_alloc are replaced in this program and count.
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>

#include "core/ops/decorator.h"
#include "tests/core/training/support.h"

// The bounds of this program's code, given by the linker. Libraries are linked statically into it, oneDNN and
// OpenMP are not: a call from outside is theirs.
extern "C" const char __executable_start[];
extern "C" const char etext[];

namespace {

std::atomic<bool> counting = false;
std::atomic<long> own_allocations = 0, other_allocations = 0;

// Null where there is none. By memalign, which nothing here replaces.
void* allocate_if_any(std::size_t bytes, std::size_t alignment, const void* caller) {
  if (counting) {
    const auto* place = static_cast<const char*>(caller);
    ++(place >= __executable_start && place < etext ? own_allocations : other_allocations);
  }
  return alignment > alignof(std::max_align_t) ? memalign(alignment, bytes) : std::malloc(bytes);
}

void* allocate(std::size_t bytes, std::size_t alignment, const void* caller) {
  void* memory = allocate_if_any(std::max<std::size_t>(bytes, 1), alignment, caller);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// g++ does not see that both sides are replaced.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
// The array and nothrow forms of the standard library call these two.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  return allocate(bytes, 1, __builtin_return_address(0));
}
[[gnu::noinline]] void* operator new[](std::size_t bytes) {
  return allocate(bytes, 1, __builtin_return_address(0));
}
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, std::size_t(alignment), __builtin_return_address(0));
}
[[gnu::noinline]] void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, std::size_t(alignment), __builtin_return_address(0));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

// What backends take their memory by.
extern "C" [[gnu::noinline]] int posix_memalign(void** memory, std::size_t alignment,
                                                std::size_t bytes) noexcept {
  *memory = allocate_if_any(bytes, alignment, __builtin_return_address(0));
  return *memory ? 0 : ENOMEM;
}
extern "C" [[gnu::noinline]] void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  return allocate_if_any(bytes, alignment, __builtin_return_address(0));
}

namespace vretnet::training {
namespace {

struct Counts {
  long own, other;
};

Counts count(const std::function<void()>& body) {
  own_allocations = other_allocations = 0;
  counting = true;
  body();
  counting = false;
  return {own_allocations, other_allocations};
}

TEST(Allocation, TheCounterCounts) {
  // Kept where the compiler cannot see that nobody looks: it may leave out an allocation without effect.
  static std::vector<double>* volatile kept = nullptr;
  EXPECT_EQ(count([] { kept = new std::vector<double>(100); }).own, 2);
  delete kept;
}

// Takes memory for every op, as a layer would that makes a tensor beside the arena.
class TakesMemory : public BackendDecorator {
 public:
  using BackendDecorator::BackendDecorator;
  void run(const ops::Op& op) override {
    inner().release(inner().allocate(64));
    inner().run(op);
    ++ops;
  }
  long ops = 0;
};

TEST(Allocation, TensorsThatAStepMakesBesideTheArenaAreCounted) {
  for (const std::string name : {"reference", "onednn"}) {
    TinyRun run({}, 24, 4, name);
    TakesMemory backend(*run.backend);
    const Allocation gradients(backend, DType::f32, run.trainer.weights().shape());
    model::Session session(*run.model, backend, run.trainer.weights(), gradients.view(),
                           {.mode = layers::Mode::training});
    const std::vector<float> images(3 * kPixels, 0.5f);
    const Allocation d_logits(backend, DType::f32, {3, kClasses});
    const auto step = [&] {
      session.forward(images.data(), 3);
      session.backward(d_logits.view());
    };
    step();
    backend.ops = 0;
    EXPECT_EQ(count(step).own, backend.ops) << name;
    EXPECT_GT(backend.ops, 50) << name;
  }
}

class AllocationTest : public ::testing::TestWithParam<std::tuple<std::string, bool>> {};

TEST_P(AllocationTest, NoneInsideAStep) {
  const auto& [backend, local] = GetParam();
  TrainingOptions options;
  options.epochs = 4;
  options.accumulation = 2;
  options.optimizer.ema_decay = 0.9;
  options.drop_path.rate = 0.2;
  TinyRun run(options, 22, 4, backend, local);  // with a short last batch
  const auto epoch = [&] {
    while (run.trainer.step()) continue;
    run.trainer.next_epoch();
  };
  epoch();  // plans memory and makes primitives
  epoch();
  const Counts counts = count(epoch);
  RecordProperty("outside", int(counts.other));
  EXPECT_EQ(counts.own, 0) << counts.other << " by libraries beside";
}

TEST_P(AllocationTest, NoneInsideAnInference) {
  const auto& [backend, local] = GetParam();
  TinyRun run({}, 24, 4, backend, local);
  model::Session session(*run.model, *run.backend, run.trainer.weights(), View(),
                         {.mode = layers::Mode::inference});
  const std::vector<float> images(3 * kPixels, 0.5f);
  session.forward(images.data(), 3);
  EXPECT_EQ(count([&] { session.forward(images.data(), 3); }).own, 0);
}

// A row makes the tables of its place, and nothing else: as much in row 20 as in row 12.
TEST_P(AllocationTest, AStreamTakesNoMoreInALaterRow) {
  const auto& [backend, local] = GetParam();
  if (local) GTEST_SKIP() << "a bidirectional model does not stream";
  TinyRun run({}, 24, 4, backend, local);
  model::Stream stream(*run.model, *run.backend, run.trainer.weights(), {.mode = layers::Mode::inference},
                       12);
  const std::vector<float> row(kPixels, 0.5f);
  std::vector<long> taken;
  for (int i = 0; i < 24; ++i) taken.push_back(count([&] { stream.push(row.data(), 1); }).own);
  EXPECT_EQ(taken[20], taken[12]);
}

INSTANTIATE_TEST_SUITE_P(Backends, AllocationTest,
                         ::testing::Combine(::testing::ValuesIn(available_backends()), ::testing::Bool()),
                         [](const auto& each) {
                           return std::get<0>(each.param) + (std::get<1>(each.param) ? "_local" : "_classic");
                         });

}  // namespace
}  // namespace vretnet::training
