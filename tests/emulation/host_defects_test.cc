// Defects of host code, injected into the fakes: each is caught, by its name.
#include <gtest/gtest.h>

#include <cmath>
#include <ostream>

#include "core/backends/cuda/cuda_backend.h"
#include "core/ops/ops.h"
#include "tests/emulation/fake/runtime.h"
#include "tests/emulation/table.h"

namespace vretnet::emulation {
namespace {

struct Named {
  ProductDefect defect;
  const char* name;
};
void PrintTo(const Named& named, std::ostream* stream) {
  *stream << named.name;
}

class ProductDefects : public ::testing::TestWithParam<Named> {
 protected:
  void TearDown() override {
    Runtime::get().product_defect = ProductDefect::none;
    reset();
  }
};

// Not one case of the table passes whose product is another one.
TEST_P(ProductDefects, AreCaught) {
  reset();
  Runtime& runtime = Runtime::get();
  const std::unique_ptr<Backend> backend = make_cuda_backend(0);
  int caught = 0;
  for (const conformance::Case& the_case : table()) {
    if (op_of(the_case) != "Gemm") continue;
    reset();
    runtime.product_defect = GetParam().defect;
    runtime.defective_products = 0;
    bool passed = true;
    try {
      passed = conformance::run_case(*backend, DType::f32, the_case).passed && violations().empty();
    } catch (const std::exception&) {  // what the fake runtime says of it
      passed = false;
    }
    const bool defective = runtime.defective_products > 0;
    EXPECT_EQ(passed, !defective) << the_case.name;
    caught += defective;
  }
  EXPECT_EQ(caught > 0, GetParam().defect != ProductDefect::none);
}

INSTANTIATE_TEST_SUITE_P(Injected, ProductDefects,
                         ::testing::Values(Named{ProductDefect::none, "none"},
                                           Named{ProductDefect::lost_bias, "lost_bias"},
                                           Named{ProductDefect::gelu_epilogue, "gelu_epilogue"},
                                           Named{ProductDefect::lost_sum, "lost_sum"},
                                           Named{ProductDefect::wrong_stride, "wrong_stride"},
                                           Named{ProductDefect::wrong_batch_step, "wrong_batch_step"}),
                         [](const auto& each) { return each.param.name; });

// An op that does not wait for its batch, which travels on a stream of its own.
TEST(LostUploads, AreCaught) {
  reset();
  Runtime& runtime = Runtime::get();
  const auto sum_is_right = [&](bool loses, StreamOrder order) {
    const std::unique_ptr<Backend> backend = make_cuda_backend(0);
    const Allocation x(*backend, DType::f32, {1000}), sum(*backend, DType::f32, {1000});
    runtime.stream_order = order;
    runtime.lost_wait = [loses](cudaStream_t, cudaEvent_t) { return loses; };
    std::vector<float> host(1000);
    for (int round = 1; round <= 5; ++round) {
      std::fill(host.begin(), host.end(), static_cast<float>(round));
      backend->upload(x.view(), host.data());
      backend->run(ops::Add{x.view(), sum.view(), sum.view()});
    }
    backend->download(sum.view(), host.data());
    runtime.lost_wait = {};
    runtime.stream_order = StreamOrder::random;
    reset();
    return host == std::vector<float>(1000, 15);
  };
  for (const StreamOrder order : {StreamOrder::oldest_first, StreamOrder::newest_first})
    EXPECT_TRUE(sum_is_right(false, order));
  EXPECT_FALSE(sum_is_right(true, StreamOrder::oldest_first));
}

}  // namespace
}  // namespace vretnet::emulation
