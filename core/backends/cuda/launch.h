// How host code starts a kernel: launch(kernel, shape, arguments…), through cudaLaunchKernelExC on a GPU and
// on the emulator alike.
#pragma once

#include <gpu.h>

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

#include "core/tensor/bfloat16.h"
#include "core/tensor/view.h"

namespace vretnet::cuda {

struct Launch {
  dim3 grid, block;
  cudaStream_t stream;
  std::size_t shared_bytes = 0;  // dynamic shared memory of a block
};

// Stops the program when a promise between host code and a kernel is broken (core/base/ensure.h, which nvcc
// cannot read).
void expect(bool kept, const char* promise);

// Throws UsageError with what was found and what the device gives where a block of this op, with heads of
// `width` values, needs more shared memory than it may have.
void require_room_for_heads(const char* op, std::int64_t width, std::size_t bytes);

// Throws RunError naming the launch when the driver refuses it.
void launch_kernel(const void* kernel, const Launch& shape, void** arguments);

// body(S()) with the element type of storage in this dtype: the kernels' template argument.
template <class Body>
void with_storage(DType dtype, const Body& body) {
  if (dtype == DType::bf16) return body(BFloat16());
  expect(dtype == DType::f32, "the cuda backend holds f32 and bf16");
  body(float());
}

// Every argument is converted to its parameter's type and copied before launch returns.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Launch& shape, Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  introduce(kernel);
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  std::apply(
      [&](auto&... value) {
        void* addresses[] = {static_cast<void*>(&value)...};
        launch_kernel(reinterpret_cast<const void*>(kernel), shape, addresses);
      },
      values);
}

}  // namespace vretnet::cuda
