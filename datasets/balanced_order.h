// An epoch in which every class comes as often, however many samples it has.
#pragma once

#include <cstdint>
#include <vector>

namespace vretnet::datasets {

struct BalancedOrder {
  std::vector<std::int64_t> indices;  // as many as there are labels
  // Of each: how often the sample had come before since epoch 0. Tells the augmentations of a sample that
  // comes twice in an epoch apart.
  std::vector<std::int64_t> visits;
};

// A function of (labels, seed, epoch). The classes that have samples take turns, so their counts differ by
// one at most; in each, samples come in drawn orders that go on from epoch to epoch, so none comes a second
// time before all others of its class have come. The epoch is then shuffled.
BalancedOrder balanced_order(const std::vector<std::int32_t>& labels, std::uint64_t seed, std::int64_t epoch);

}  // namespace vretnet::datasets
