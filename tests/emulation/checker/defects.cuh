// Small kernels that are right, or wrong in one named way: what the checker must pass and must catch.
// Compiled with its hooks, as the backend's kernels are.
#pragma once

#include <cstdint>

#include "core/backends/cuda/device.h"

namespace vretnet::emulation {

enum class Defect : std::uint8_t {
  none,
  missing_block_barrier,          // a neighbour's word is read before it is written
  missing_second_barrier,         // a word is written again before all have read it
  missing_warp_barrier,           // a lane's word is read without __syncwarp
  shuffle_as_barrier,             // a shuffle in place of __syncwarp
  two_writers,                    // two threads write one word
  neighbouring_halves,            // two threads write the halves of one word: no defect
  two_writers_of_a_half,          // two threads write one half
  fragments_without_barrier,      // a fragment is read while another warp writes its memory
  fragment_beyond_shared_memory,  //
  misaligned_fragment,            // no multiple of 32 bytes
  two_blocks,                     // two blocks write one word of global memory
  uninitialised_shared,           // a word of shared memory that nothing wrote
  uninitialised_global,           // a word of global memory that nothing wrote
  one_row_past_the_end,           // global memory
  beyond_shared_memory,           //
  misaligned_vector,              // a 16-byte access off by one float
};

// y[i] = sums of neighbours' x, by every road that has a name above. x, y [256] on the device.
void run_with(Defect defect, const float* x, float* y, const cuda::Stream& stream);
// y[i] = x[i · stride] of 32 lanes, and the same through shared memory: what the counters count.
void run_strided(int global_stride, int shared_stride, const float* x, float* y, const cuda::Stream& stream);

}  // namespace vretnet::emulation
