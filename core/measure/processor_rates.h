// The processor's own limits, by loops of ours in the widest vectors that it has.
#pragma once

namespace vretnet::measure {

// FLOP/s of independent f32 multiply-adds that stay in registers, 2 each, on `threads` threads; best of runs.
double fma_rate(int threads, double seconds);

// Bytes a second of x = y + a·z over three f32 arrays of together `bytes`, each thread on its part; 3 · 4
// bytes an element; best of runs.
double triad_rate(double bytes, int threads, double seconds);

}  // namespace vretnet::measure
