// Randomness as a pure function of where it is used: Random(seed, {epoch, index, purpose}) gives the same
// numbers whatever ran before it and on whichever thread. No global state, nothing to save for a resume.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace vretnet {

// splitmix64 (Steele, Lea, Flood 2014): a bijection of 64 bits whose outputs pass BigCrush as a counter.
std::uint64_t mix64(std::uint64_t value);

class Random {
 public:
  // `path` tells the streams of one seed apart, for example {epoch, sample_index}.
  explicit Random(std::uint64_t seed, std::initializer_list<std::uint64_t> path = {});

  std::uint64_t next();
  double uniform();                          // [0, 1), 53 bits
  double uniform(double low, double high);   // [low, high)
  std::uint64_t below(std::uint64_t bound);  // 0 … bound − 1, unbiased; bound ≥ 1
  double normal();                           // mean 0, deviation 1 (Box–Muller, one of the pair)
  double truncated_normal();                 // normal, redrawn outside ±2

 private:
  std::uint64_t state_;
};

}  // namespace vretnet
