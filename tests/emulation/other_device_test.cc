// Memory of another device, or of the host, is refused by copies and by every library: a GPU without access
// to its neighbour's memory fails there, and one with it computes with numbers that nothing orders.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/backends/cuda/cuda_backend.h"
#include "core/backends/cuda/device.h"
#include "core/ops/ops.h"
#include "tests/emulation/emulator.h"
#include "tests/emulation/fake/runtime.h"

namespace vretnet::emulation {
namespace {

class OtherDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    reset();
    ASSERT_EQ(cudaMallocHost(&pinned_, kBytes), cudaSuccess);
  }
  void TearDown() override {
    cudaFreeHost(pinned_);
    cudaSetDevice(0);
    reset();
  }
  // What device 0 says that runs work on its own memory and on memory that is not.
  void expect_refused(const std::function<void()>& work, const std::string& violation) {
    reset();
    EXPECT_ANY_THROW(work()) << violation;
    ASSERT_FALSE(violations().empty()) << violation;
    EXPECT_EQ(violations().front(), violation);
    reset();
    cudaGetLastError();
  }

  static constexpr std::size_t kBytes = 64 * sizeof(float);
  void* pinned_ = nullptr;
  const std::unique_ptr<Backend> backend_ = make_cuda_backend(0), other_ = make_cuda_backend(1);
  const Allocation own_{*backend_, DType::f32, {64}}, more_{*backend_, DType::f32, {64}},
      foreign_{*other_, DType::f32, {64}};
};

TEST_F(OtherDevice, IsRefusedByCopies) {
  const auto refused = [&](void* to, const void* from, cudaMemcpyKind kind) {
    expect_refused(
        [&] {
          cudaSetDevice(0);
          const cuda::Stream stream;
          cuda::require(cudaMemcpyAsync(to, from, kBytes, kind, stream.get()), "a copy");
        },
        "a copy of device 0 reaches into memory of device 1");
  };
  void *own = own_.view().data<void>(), *foreign = foreign_.view().data<void>();
  refused(foreign, own, cudaMemcpyDeviceToDevice);
  refused(own, foreign, cudaMemcpyDeviceToDevice);
  refused(foreign, pinned_, cudaMemcpyHostToDevice);
  refused(pinned_, foreign, cudaMemcpyDeviceToHost);
  expect_refused([&] { backend_->upload(foreign_.view(), pinned_); },
                 "a copy of device 0 reaches into memory of device 1");
  const Buffer bytes{.data = foreign, .bytes = kBytes};
  expect_refused([&] { backend_->fill(View(&bytes, DType::s8, {64}), 0); },
                 "cudaMemset of device 0 reaches into memory of device 1");
}

TEST_F(OtherDevice, IsRefusedByProducts) {
  const Buffer pinned{.data = pinned_, .bytes = kBytes};
  std::vector<float> pageable(64);
  const Buffer host{.data = pageable.data(), .bytes = kBytes};
  const View good = own_.view().reshaped({8, 8}), result = more_.view().reshaped({8, 8});
  const auto product = [&](const View& a, const View& b, const View& y, const View& bias) {
    return [=, this] { backend_->run(ops::Gemm{.a = a, .b = b, .y = y, .bias = bias}); };
  };
  const std::string other = "a product of device 0 reaches into memory of device 1";
  const View foreign = foreign_.view().reshaped({8, 8});
  expect_refused(product(foreign, good, result, {}), other);
  expect_refused(product(good, foreign, result, {}), other);
  expect_refused(product(good, good, foreign, {}), other);
  expect_refused(product(good, good, result, foreign_.view().slice(0, 0, 8)), other);
  const std::string is_pinned = "a product of device 0 reaches into pinned memory of the host";
  expect_refused(product(View(&pinned, DType::f32, {8, 8}), good, result, {}), is_pinned);
  expect_refused(product(good, good, result, View(&pinned, DType::f32, {8})), is_pinned);
  expect_refused(product(good, View(&host, DType::f32, {8, 8}), result, {}),
                 "a product of device 0 reaches into what is no device memory");
  backend_->run(ops::Gemm{.a = good, .b = good, .y = result, .bias = own_.view().slice(0, 0, 8)});
  backend_->synchronize();
  EXPECT_TRUE(violations().empty()) << violations().front();
}

TEST_F(OtherDevice, IsRefusedByConvolutions) {
  const View images = own_.view().reshaped({1, 8, 8, 1}),
             result = more_.view().slice(0, 0, 16).reshaped({1, 4, 4, 1}),
             weight = own_.view().slice(0, 0, 4).reshaped({1, 1, 2, 2});
  const Allocation room{*backend_, DType::f32, {1 << 12}};
  const auto convolution = [&](const View& x, const View& y) {
    return [=, this, workspace = room.view()] {
      backend_->run(ops::Convolution{.x = x, .weight = weight, .y = y, .stride = 2, .workspace = workspace});
    };
  };
  const std::string other = "a convolution of device 0 reaches into memory of device 1";
  expect_refused(convolution(foreign_.view().reshaped({1, 8, 8, 1}), result), other);
  expect_refused(convolution(images, foreign_.view().slice(0, 0, 16).reshaped({1, 4, 4, 1})), other);
  convolution(images, result)();
  backend_->synchronize();
  EXPECT_TRUE(violations().empty()) << violations().front();
}

}  // namespace
}  // namespace vretnet::emulation
