// The one symbol of the module that core/backends/cuda_module.cc loads.
#include "core/backends/cuda/cuda_backend.h"

extern "C" __attribute__((visibility("default"))) vretnet::Backend* vretnet_make_cuda_backend(int device) {
  return vretnet::make_cuda_backend(device).release();
}
