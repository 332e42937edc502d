#include "core/base/random.h"

#include <cmath>
#include <numbers>

namespace vretnet {
namespace {
constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15ull;  // 2^64 / golden ratio, splitmix64's increment
}

std::uint64_t mix64(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

Random::Random(std::uint64_t seed, std::initializer_list<std::uint64_t> path)
    : state_(mix64(seed + kGolden)) {
  for (std::uint64_t step : path) state_ = mix64(state_ ^ mix64(step + kGolden));
}

std::uint64_t Random::next() {
  return mix64(state_ += kGolden);
}

double Random::uniform() {
  return double(next() >> 11) * 0x1p-53;
}

double Random::uniform(double low, double high) {
  return low + (high - low) * uniform();
}

std::uint64_t Random::below(std::uint64_t bound) {
  // Lemire 2019: multiply and keep the high half; the few biased low halves are redrawn.
  const std::uint64_t threshold = -bound % bound;
  for (;;) {
    const unsigned __int128 product = static_cast<unsigned __int128>(next()) * bound;
    if (static_cast<std::uint64_t>(product) >= threshold) return static_cast<std::uint64_t>(product >> 64);
  }
}

double Random::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

double Random::truncated_normal() {
  for (;;) {
    const double value = normal();
    if (std::abs(value) <= 2.0) return value;
  }
}

}  // namespace vretnet
