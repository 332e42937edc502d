#include "tests/emulation/fragments.h"

#include <array>
#include <map>
#include <numeric>
#include <utility>

#include "core/base/random.h"
#include "core/tensor/bfloat16.h"
#include "tests/emulation/emulator.h"

namespace vretnet::emulation {
namespace {

constexpr int kElements = kFragmentSide * kFragmentSide;

// Element row · 16 + column lies in slot lane · 8 + i.
struct Layout {
  std::array<int, kElements> slot_of, element_of;
};

const Layout& layout_of(Part part) {
  static std::map<std::uint64_t, Layout> layouts;
  const auto order = static_cast<std::uint64_t>(schedule().order);
  const std::uint64_t key = (schedule().seed * 3 + order) * 3 + static_cast<std::uint64_t>(part);
  const auto [entry, added] = layouts.try_emplace(key);
  Layout& layout = entry->second;
  if (added) {
    std::iota(layout.element_of.begin(), layout.element_of.end(), 0);
    Random random(key);
    for (std::size_t i = kElements; i > 1; --i) {
      std::swap(layout.element_of[i - 1], layout.element_of[random.below(i)]);
    }
    for (int slot = 0; slot < kElements; ++slot) {
      layout.slot_of[static_cast<std::size_t>(layout.element_of[static_cast<std::size_t>(slot)])] = slot;
    }
  }
  return layout;
}

int lane() {
  return running().thread % kWarp;
}
template <class T>
std::uint64_t as_value(const T* address) {
  return reinterpret_cast<std::uint64_t>(address);
}
template <class T>
T* as_address(std::uint64_t value) {
  return reinterpret_cast<T*>(value);
}
// Until all lanes are here nobody's memory may change.
void meet() {
  gather_of_warp(0);
}

// visit(i, row, column) for the elements that this lane keeps.
template <class Visit>
void for_each_own(Part part, const Visit& visit) {
  const Layout& layout = layout_of(part);
  for (int i = 0; i < kElementsOfLane; ++i) {
    const int element = layout.element_of[static_cast<std::size_t>(lane() * kElementsOfLane + i)];
    visit(i, element / kFragmentSide, element % kFragmentSide);
  }
}

}  // namespace

void distribute(Part part, bool by_rows, const std::uint16_t* mine, std::uint16_t* x) {
  const std::uint64_t* of_lanes = gather_of_warp(as_value(mine));
  for_each_own(part, [&](int i, int row, int column) {
    if (!by_rows) std::swap(row, column);
    const int reader = row + kFragmentSide * (column / kElementsOfLane);
    x[i] = as_address<const std::uint16_t>(of_lanes[reader])[column % kElementsOfLane];
  });
  meet();
}

void distribute(const float* mine, float* x) {
  const std::uint64_t* of_lanes = gather_of_warp(as_value(mine));
  for_each_own(Part::sums, [&](int i, int row, int column) {
    const int reader = row % 8 * 4 + column % 8 / 2, pair = row / 8 + 2 * (column / 8);
    x[i] = as_address<const float>(of_lanes[reader])[2 * pair + column % 2];
  });
  meet();
}

void collect(const float* x, float* mine) {
  const std::uint64_t* of_lanes = gather_of_warp(as_value(x));
  const Layout& layout = layout_of(Part::sums);
  for (int n = 0; n < kElementsOfLane; ++n) {
    const PairPlace place = pair_of(lane(), n / 2);
    const int element = place.row * kFragmentSide + place.column + n % 2;
    const int slot = layout.slot_of[static_cast<std::size_t>(element)];
    mine[n] = as_address<const float>(of_lanes[slot / kElementsOfLane])[slot % kElementsOfLane];
  }
  meet();
}

void multiply_add(float* sums, const std::uint16_t* left, const std::uint16_t* right) {
  struct Operands {
    float* sums;
    const std::uint16_t *left, *right;
  };
  const Operands own{sums, left, right};
  const std::uint64_t* of_lanes = gather_of_warp(as_value(&own));
  if (lane() == 0) {  // for all
    const auto place = [&](Part part, int row, int column) {
      const int slot = layout_of(part).slot_of[static_cast<std::size_t>(row * kFragmentSide + column)];
      return std::pair{as_address<const Operands>(of_lanes[slot / kElementsOfLane]), slot % kElementsOfLane};
    };
    std::array<float, kElements> a, b;
    for (int row = 0; row < kFragmentSide; ++row) {
      for (int column = 0; column < kFragmentSide; ++column) {
        const auto at = static_cast<std::size_t>(row * kFragmentSide + column);
        const auto [a_lane, a_place] = place(Part::left, row, column);
        const auto [b_lane, b_place] = place(Part::right, row, column);
        a[at] = to_float({a_lane->left[a_place]});
        b[at] = to_float({b_lane->right[b_place]});
      }
    }
    for (int row = 0; row < kFragmentSide; ++row) {
      std::array<float, kFragmentSide> total{};
      for (int k = 0; k < kFragmentSide; ++k) {
        for (int column = 0; column < kFragmentSide; ++column) {
          total[static_cast<std::size_t>(column)] += a[static_cast<std::size_t>(row * kFragmentSide + k)] *
                                                     b[static_cast<std::size_t>(k * kFragmentSide + column)];
        }
      }
      for (int column = 0; column < kFragmentSide; ++column) {
        const auto [sum_lane, sum_place] = place(Part::sums, row, column);
        sum_lane->sums[sum_place] += total[static_cast<std::size_t>(column)];
      }
    }
  }
  meet();
}

}  // namespace vretnet::emulation
