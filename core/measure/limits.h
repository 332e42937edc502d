// What this processor and this backend can reach at most, measured, for comparison with what a model reaches.
#pragma once

#include <span>
#include <vector>

#include "core/ops/backend.h"

namespace vretnet::measure {

struct Bandwidth {
  double bytes = 0;  // read and written again and again
  double rate = 0;   // bytes a second
};

struct Limits {
  double fma_rate = 0;    // FLOP/s of independent f32 multiply-adds in registers, all threads together
  bool promised = false;  // fma_rate and the bandwidth are the device's properties, which nobody measured
  double gemm_rate = 0;  // FLOP/s of the backend's Gemm in f32, the best of some large products, weights kept
  double quantized_rate = 0;          // the same of QuantizedGemm; 0 where the backend does not favour it
  std::vector<Bandwidth> bandwidths;  // of the triad x = y + a·z, from what fits into caches to what does not

  double memory_rate() const { return bandwidths.back().rate; }

  // The roofline: the least seconds for work of so many FLOPs and bytes, max(flops / gemm_rate, bytes /
  // bandwidth), with the bandwidth of the largest measured amount that is not larger than `bytes`. (So an op
  // whose operands fit into the cache is held against the cache.) Where limits are promised, fma_rate takes
  // gemm_rate's place; of products of integers, quantized_rate.
  double least_seconds(double flops, double bytes, bool integers = false) const;

  // Takes the better of each rate: a limit can only be measured too low, by what else the machine does.
  void improve(const Limits& again);
};

// Takes about seven times `seconds`. `threads` are those that the backend uses. A backend that tells its
// peaks (a GPU) is believed: only its products are measured.
Limits measure_limits(Backend& backend, int threads, double seconds);

// The FLOP/s that the products (Gemm, QuantizedGemm) among `recorded` reach when each is run alone and again,
// without bias, activation and residual: the sum of their FLOPs over the sum of their best times; 0 where
// there is none. An upper limit for the model that they were recorded of. Overwrites their outputs.
double products_rate(Backend& backend, std::span<const ops::Op> recorded, double seconds);

}  // namespace vretnet::measure
