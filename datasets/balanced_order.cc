#include "datasets/balanced_order.h"

#include <map>

#include "datasets/order.h"

namespace vretnet::datasets {
namespace {

// One class: its samples, round after round, each round in a drawn order.
class Rounds {
 public:
  Rounds(std::vector<std::int64_t> samples, std::int32_t label, std::uint64_t seed)
      : samples_(std::move(samples)), label_(label), seed_(seed) {}

  std::int64_t round_of(std::int64_t turn) const { return turn / std::int64_t(samples_.size()); }
  std::int64_t at(std::int64_t turn) {
    const std::int64_t round = round_of(turn);
    if (round != round_) {
      order_ = samples_;
      shuffle(order_,
              Random(seed_, {std::uint64_t(Purpose::Balance), std::uint64_t(label_), std::uint64_t(round)}));
      round_ = round;
    }
    return order_[std::size_t(turn % std::int64_t(samples_.size()))];
  }

 private:
  std::vector<std::int64_t> samples_, order_;
  std::int32_t label_;
  std::uint64_t seed_;
  std::int64_t round_ = -1;
};

}  // namespace

BalancedOrder balanced_order(const std::vector<std::int32_t>& labels, std::uint64_t seed,
                             std::int64_t epoch) {
  std::map<std::int32_t, std::vector<std::int64_t>> samples_of;
  for (std::size_t i = 0; i < labels.size(); ++i) samples_of[labels[i]].push_back(std::int64_t(i));
  std::vector<Rounds> classes;
  for (auto& [label, samples] : samples_of) classes.emplace_back(std::move(samples), label, seed);

  // All epochs are one row of turns, dealt to the classes one after the other.
  const auto size = std::int64_t(labels.size()), count = std::int64_t(classes.size());
  std::vector<std::int64_t> samples, rounds, places(labels.size());
  for (std::int64_t i = 0; i < size; ++i) {
    const std::int64_t turn = epoch * size + i;
    Rounds& own = classes[std::size_t(turn % count)];
    samples.push_back(own.at(turn / count));
    rounds.push_back(own.round_of(turn / count));
    places[std::size_t(i)] = i;
  }
  shuffle(places, Random(seed, {std::uint64_t(Purpose::Order), std::uint64_t(epoch)}));
  BalancedOrder order;
  for (const std::int64_t place : places) {
    order.indices.push_back(samples[std::size_t(place)]);
    order.visits.push_back(rounds[std::size_t(place)]);
  }
  return order;
}

}  // namespace vretnet::datasets
