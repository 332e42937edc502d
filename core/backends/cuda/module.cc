// The one symbol of the module that core/backends/cuda_module.cc loads.
#include "core/backends/cuda/cuda_backend.h"

// backends [count] receives what the caller then owns.
extern "C" __attribute__((visibility("default"))) void vretnet_make_cuda_backends(
    const int* devices, int count, vretnet::Backend** backends) {
  for (auto& backend : vretnet::make_cuda_backends({devices, devices + count}))
    *backends++ = backend.release();
}
