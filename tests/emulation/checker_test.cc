// The hook checker: it reports nothing of the backend's kernels over the conformance table, and every
// injected defect by its name: in kernels written for it, and in the backend's own with one barrier taken
// away.
#include "tests/emulation/checker/checker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "core/backends/cuda/cuda_backend.h"
#include "core/conformance/conformance.h"
#include "tests/emulation/checker/defects.cuh"
#include "tests/emulation/fake/runtime.h"
#include "tests/emulation/schedules.h"
#include "tests/emulation/table.h"

namespace vretnet::emulation {
namespace {

using conformance::Case;

bool noted(const std::string& text) {
  return std::any_of(violations().begin(), violations().end(),
                     [&](const std::string& violation) { return violation.find(text) != std::string::npos; });
}

// ------------------------------------------------------------------------------------ kernels with one
// defect

struct Named {
  Defect defect;
  const char* name;
  const char* report;  // what the checker must say; empty: nothing
};
void PrintTo(const Named& named, std::ostream* stream) {
  *stream << named.name;
}

class Defects : public ::testing::TestWithParam<Named> {
 protected:
  void SetUp() override { reset(); }
  void TearDown() override { reset(); }
};

TEST_P(Defects, AreCaughtByName) {
  const Checker checker;
  cuda::Stream stream;
  float *x = nullptr, *y = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&x), 256 * sizeof(float)), cudaSuccess);
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&y), 257 * sizeof(float)), cudaSuccess);
  ASSERT_EQ(cudaMemsetAsync(x, 0, 256 * sizeof(float), stream.get()), cudaSuccess);
  run_with(GetParam().defect, x, y, stream);
  cudaStreamSynchronize(stream.get());
  if (*GetParam().report) {
    EXPECT_TRUE(noted(GetParam().report))
        << (violations().empty() ? "nothing was noticed" : violations().front());
  } else {
    EXPECT_TRUE(violations().empty()) << violations().front();
  }
  cudaFree(x);
  cudaFree(y);
}

INSTANTIATE_TEST_SUITE_P(
    Injected, Defects,
    ::testing::Values(
        Named{Defect::none, "none", ""},
        Named{Defect::missing_block_barrier, "missing_block_barrier", "race: a"},
        Named{Defect::missing_second_barrier, "missing_second_barrier", "race: a"},
        Named{Defect::missing_warp_barrier, "missing_warp_barrier", "race: a"},
        Named{Defect::shuffle_as_barrier, "shuffle_as_barrier", "race: a"},
        Named{Defect::two_writers, "two_writers", "writes too"},
        Named{Defect::neighbouring_halves, "neighbouring_halves", ""},
        Named{Defect::two_writers_of_a_half, "two_writers_of_a_half", "writes too"},
        Named{Defect::fragments_without_barrier, "fragments_without_barrier", "race: a"},
        Named{Defect::fragment_beyond_shared_memory, "fragment_beyond_shared_memory", "out of bounds"},
        Named{Defect::misaligned_fragment, "misaligned_fragment", "misaligned address"},
        Named{Defect::two_blocks, "two_blocks", "writes too"},
        Named{Defect::uninitialised_shared, "uninitialised_shared", "uninitialised: a read of shared"},
        Named{Defect::uninitialised_global, "uninitialised_global", "uninitialised: a read of global"},
        Named{Defect::one_row_past_the_end, "one_row_past_the_end", "out of bounds: a read"},
        Named{Defect::beyond_shared_memory, "beyond_shared_memory", "out of bounds: a write"},
        Named{Defect::misaligned_vector, "misaligned_vector", "misaligned address"}),
    [](const auto& each) { return each.param.name; });

// A right kernel, with x or y on the neighbour of its device.
TEST(OtherDevice, IsCaughtByItsName) {
  constexpr std::size_t kBytes = 256 * sizeof(float);
  for (const bool writes : {false, true}) {
    reset();
    const Checker checker;
    float *own = nullptr, *other = nullptr;
    cudaSetDevice(1);
    cudaMalloc(reinterpret_cast<void**>(&other), kBytes);
    {
      const cuda::Stream stream;
      cudaMemsetAsync(other, 0, kBytes, stream.get());
      stream.synchronize();
    }
    cudaSetDevice(0);
    cudaMalloc(reinterpret_cast<void**>(&own), kBytes);
    const cuda::Stream stream;
    cudaMemsetAsync(own, 0, kBytes, stream.get());
    run_with(Defect::none, writes ? own : other, writes ? other : own, stream);
    cudaStreamSynchronize(stream.get());
    EXPECT_TRUE(noted(writes ? "another device: a write of memory of device 1 by a kernel of device 0"
                             : "another device: a read of memory of device 1 by a kernel of device 0"));
    cudaFree(own);
    cudaFree(other);
  }
  reset();
}

TEST(Counters, CountSectorsAndBankConflicts) {
  reset();
  cuda::Stream stream;
  float* x = nullptr;
  float* y = nullptr;
  cudaMalloc(reinterpret_cast<void**>(&x), 32 * 32 * sizeof(float));
  cudaMalloc(reinterpret_cast<void**>(&y), 32 * sizeof(float));
  struct Expectation {
    int global_stride, shared_stride;
    std::int64_t sectors, wavefronts;
  };
  // Reads and writes of y are 4 sectors of 32 bytes; a stride of 8 floats takes a sector a lane.
  for (const Expectation& e :
       {Expectation{1, 1, 8, 2}, {8, 1, 36, 2}, {2, 2, 12, 4}, {1, 32, 8, 64}, {1, 31, 8, 2}}) {
    const Checker checker(/*counts=*/true);
    cudaMemsetAsync(x, 0, 32 * 32 * sizeof(float), stream.get());
    run_strided(e.global_stride, e.shared_stride, x, y, stream);
    cudaStreamSynchronize(stream.get());
    EXPECT_EQ(checker.counters().sectors, e.sectors) << e.global_stride;
    EXPECT_EQ(checker.counters().least_sectors, 8);
    EXPECT_EQ(checker.counters().wavefronts, e.wavefronts) << e.shared_stride;
    EXPECT_EQ(checker.counters().least_wavefronts, 2);
  }
  EXPECT_TRUE(violations().empty()) << violations().front();
  cudaFree(x);
  cudaFree(y);
}

// ---------------------------------------------------------------------------------- the backend's own
// kernels

// The first case whose name begins so.
auto find_case(const std::string& name) {
  return std::find_if(table().begin(), table().end(),
                      [&](const Case& each) { return each.name.starts_with(name); });
}

struct Subject {
  DType dtype;
  std::string op;
};
std::string text_of(const Subject& subject) {
  return std::string(name_of(subject.dtype)) + "_" + subject.op;
}
void PrintTo(const Subject& subject, std::ostream* stream) {
  *stream << text_of(subject);
}

std::vector<Subject> subjects() {
  std::vector<Subject> subjects;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const std::string& op : ops_of_table(dtype)) subjects.push_back({dtype, op});
  }
  return subjects;
}

class CheckedBackend : public ::testing::TestWithParam<Subject> {};

// Every case of the table; the schedules take turns.
TEST_P(CheckedBackend, HasNoRaceNoUninitialisedReadAndStaysInBounds) {
  reset();
  const Checker checker;
  const std::unique_ptr<Backend> backend = make_cuda_backend(0);
  expect_table_holds(*backend, GetParam().dtype, GetParam().op,
                     [](std::size_t number) { set_schedule(kSchedules[number % kSchedules.size()]); });
  set_schedule({});
}

INSTANTIATE_TEST_SUITE_P(Table, CheckedBackend, ::testing::ValuesIn(subjects()),
                         [](const auto& each) { return text_of(each.param); });

// How a warp's accesses fall into sectors and banks, over what the same bytes need at best.
struct Traffic {
  const char* name;
  double most_sectors, most_wavefronts;
  DType dtype = DType::f32;
};

TEST(CountedBackend, ReadsWholeSectorsAndMeetsFewBankConflicts) {
  for (const Traffic& traffic :
       {Traffic{"Activation/gelu [1, 64, 96]", 1.1, 1.0},
        {"LayerNorm/50x96", 1.1, 1.0},
        {"LayerNormGradient/50x96", 1.1, 1.0},
        {"ColumnSum/300x64", 1.1, 1.0},
        {"DecayPowers/3x64", 1.1, 1.0},
        {"HeadDot/3x10x10 heads 2x8x24", 1.1, 1.0},
        {"Rotate/[2, 5, 3, 32]", 2, 1.0},
        {"Depthwise/[2, 7, 7, 96] to 96 kernel 3 stride 1 padding 1111 bias", 1.1, 1.1},
        {"DepthwiseWeightGradient/[2, 7, 7, 96] to 96 kernel 3 stride 1 padding 1111 bias", 1.3, 1.0},
        {"Retention/1x7x7 heads 2x32x64 chunkwise raster chunk 7", 1.15, 1.15},
        {"Retention/1x8x8 heads 3x32x32 parallel bidirectional raster", 1.1, 1.15},
        {"RetentionBlock/1x7x7 heads 2x32x64 chunkwise raster chunk 14", 1.5, 1.2},
        {"Attention/[1, 65, 1, 64]", 1.1, 1.1},
        {"AttentionGradient/[1, 65, 1, 64]", 1.1, 1.1},
        {"Activation/gelu [1, 64, 96]", 1.1, 1.0, DType::bf16},
        {"LayerNorm/50x96", 1.1, 1.0, DType::bf16},
        {"Retention/1x8x8 heads 3x32x32 parallel bidirectional raster", 2.3, 1.2, DType::bf16},
        {"RetentionBlock/1x7x7 heads 2x32x64 chunkwise raster chunk 14", 1.7, 1.25, DType::bf16},
        {"Retention/1x8x8 heads 3x32x32 chunkwise raster chunk 16", 1.7, 1.25, DType::bf16}}) {
    reset();
    set_schedule({});
    const Checker checker(/*counts=*/true);
    const std::unique_ptr<Backend> backend = make_cuda_backend(0);
    const auto found = find_case(traffic.name);
    ASSERT_NE(found, table().end()) << traffic.name;
    EXPECT_TRUE(conformance::run_case(*backend, traffic.dtype, *found).passed);
    const Checker::Counters& counters = checker.counters();
    const double sectors =
        static_cast<double>(counters.sectors) / static_cast<double>(counters.least_sectors);
    const double wavefronts = static_cast<double>(counters.wavefronts) /
                              std::max(1.0, static_cast<double>(counters.least_wavefronts));
    EXPECT_LE(sectors, traffic.most_sectors) << traffic.name;
    EXPECT_LE(wavefronts, traffic.most_wavefronts) << traffic.name;
    std::cout << traffic.name << " " << name_of(traffic.dtype) << ": sectors " << sectors << ", wavefronts "
              << wavefronts << "\n";
  }
}

// A case of each op whose kernels wait for one another, without each of its barriers in turn. Behind the last
// ones (of a loop's last turn) nothing follows that they would hold back.
struct Barriers {
  const char* name;
  int idle;  // so many at the end
  DType dtype = DType::f32;
  int warp_barriers = 1 << 20;  // the first so many: behind a warp's last one in a loop __syncthreads follows
};
void PrintTo(const Barriers& barriers, std::ostream* stream) {
  *stream << barriers.name;
}
class RemovedBarriers : public ::testing::TestWithParam<Barriers> {};

TEST_P(RemovedBarriers, AreMissed) {
  reset();
  set_schedule({});
  const auto found = find_case(GetParam().name);
  ASSERT_NE(found, table().end()) << GetParam().name;
  const auto run = [&](const Skipped& skipped) {
    reset();
    const Checker checker;
    const std::unique_ptr<Backend> backend = make_cuda_backend(0);
    skip_barriers(skipped);
    try {
      conformance::run_case(*backend, GetParam().dtype, *found);
    } catch (const std::exception&) {  // what the fake runtime says after a violation
    }
    skip_barriers({});
    return noted("race: a") || noted("uninitialised: a");
  };
  most_barriers();
  EXPECT_FALSE(run({})) << violations().front();
  const Skipped most = most_barriers();
  EXPECT_GT(most.block + most.warp, 0);
  for (int i = 0; i < most.block - GetParam().idle; ++i)
    EXPECT_TRUE(run({.block = i})) << "without __syncthreads " << i;
  if (GetParam().dtype == DType::bf16) {
    EXPECT_GT(most.warp, 0) << "not the kernel for tensor cores";
  }
  for (int i = 0; i < std::min(most.warp, GetParam().warp_barriers); ++i)
    EXPECT_TRUE(run({.warp = i})) << "without __syncwarp " << i;
  reset();
}

INSTANTIATE_TEST_SUITE_P(
    OfTheBackend, RemovedBarriers,
    ::testing::Values(
        Barriers{"ColumnSum/300x17", 0}, Barriers{"SquaredNorm/1030", 0},
        Barriers{"DepthwiseWeightGradient/[2, 7, 5, 17]", 0}, Barriers{"HeadDot/1x7x7 heads 2x32x64", 0},
        Barriers{"Retention/2x3x5 heads 3x8x16 chunkwise raster chunk 5", 2},
        Barriers{"RetentionBlock/2x3x5 heads 3x8x16 chunkwise raster chunk 5", 1},
        Barriers{"Attention/[1, 65, 1, 64]", 1}, Barriers{"AttentionGradient/[1, 65, 1, 64]", 1},
        Barriers{"Retention/1x7x7 heads 2x32x64 chunkwise raster chunk 14", 1, DType::bf16, 1},
        Barriers{"RetentionBlock/1x7x7 heads 2x32x64 chunkwise raster chunk 14", 0, DType::bf16, 1}),
    [](const auto& each) {
      std::string name = std::string(name_of(each.param.dtype)) + " " + each.param.name;
      std::replace_if(
          name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
      return name;
    });

}  // namespace
}  // namespace vretnet::emulation
