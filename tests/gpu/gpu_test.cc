// The conformance table on a real GPU: `ctest -L gpu`. Where there is none every test says why and is
// skipped.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/backends/available.h"
#include "core/base/error.h"
#include "core/conformance/conformance.h"
#include "core/ops/communicator.h"

namespace vretnet {
namespace {

std::string op_of(const conformance::Case& the_case) {
  return the_case.name.substr(0, the_case.name.find('/'));
}

std::vector<std::string> ops_in_table() {
  std::set<std::string> names;
  for (const conformance::Case& the_case : conformance::conformance_cases()) names.insert(op_of(the_case));
  return {names.begin(), names.end()};
}

class Gpu : public ::testing::TestWithParam<std::tuple<DType, std::string>> {};

TEST_P(Gpu, EqualsTheReferenceInDouble) {
  std::unique_ptr<Backend> backend;
  try {
    backend = make_backend("cuda", 1);
  } catch (const UsageError& error) {
    GTEST_SKIP() << "no GPU was used: " << error.what();
  }
  const auto& [dtype, op] = GetParam();
  double worst = 0;
  for (const conformance::Case& the_case : conformance::conformance_cases()) {
    if (op_of(the_case) != op || !conformance::exists_in(dtype, the_case)) continue;
    const conformance::Result result = conformance::run_case(*backend, dtype, the_case);
    EXPECT_TRUE(result.passed) << the_case.name << ": " << result.reason;
    worst = std::max(worst, result.worst);
  }
  RecordProperty("worst", std::to_string(worst));
}

INSTANTIATE_TEST_SUITE_P(Ops, Gpu,
                         ::testing::Combine(::testing::Values(DType::f32, DType::bf16),
                                            ::testing::ValuesIn(ops_in_table())),
                         [](const auto& each) {
                           return std::string(name_of(std::get<0>(each.param))) + "_" +
                                  std::get<1>(each.param);
                         });

TEST(Gpus, SumsHaveTheSameBitsOnTwo) {
  std::vector<std::unique_ptr<Backend>> pair;
  try {
    pair = make_backends("cuda:0,1", 1);
  } catch (const UsageError& error) {
    GTEST_SKIP() << "no two GPUs were used: " << error.what();
  }
  constexpr std::int64_t kCount = 100003;
  std::vector<std::vector<float>> results(2, std::vector<float>(kCount));
  const auto work = [&](std::size_t machine) {
    Backend& backend = *pair[machine];
    const Allocation x(backend, DType::f32, {kCount});
    for (std::int64_t i = 0; i < kCount; ++i) {
      results[machine][static_cast<std::size_t>(i)] = static_cast<float>(i % 1000) + 0.25f * machine;
    }
    backend.upload(x.view(), results[machine].data());
    backend.communicator()->begin_sum(x.view());
    backend.communicator()->wait_for_sums();
    backend.download(x.view(), results[machine].data());
  };
  std::thread second(work, 1);
  work(0);
  second.join();
  EXPECT_EQ(results[0], results[1]);
  for (std::int64_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(results[0][static_cast<std::size_t>(i)], 2 * static_cast<float>(i % 1000) + 0.25f);
  }
}

// Everywhere: the module finds cudart, cuBLASLt, cuDNN and NCCL, and every symbol that it needs of them.
TEST(CudaModule, IsLoadedWithItsLibraries) {
  if (*VRETNET_CUDA_MODULE == '\0') GTEST_SKIP() << "this build has no CUDA backend";
  void* module = dlopen(VRETNET_CUDA_MODULE, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(module, nullptr) << dlerror();
  EXPECT_NE(dlsym(module, "vretnet_make_cuda_backends"), nullptr);
  try {
    make_backends("cuda:0,1", 1);
  } catch (const UsageError& error) {  // of the machine, not of the build
    EXPECT_EQ(std::string(error.what()).find("this build"), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find(".so"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace vretnet
