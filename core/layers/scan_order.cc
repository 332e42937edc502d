#include "core/layers/scan_order.h"

#include <algorithm>

namespace vretnet::layers {
namespace {

constexpr std::int64_t kCrossOrders = 4;

View heads_of(const View& x, std::int64_t heads, const ScanOrder& order) {
  return x.split(-1, heads).every(-2, order.head_step, order.first_head);
}

}  // namespace

std::vector<ScanOrder> scan_orders(Reading reading, std::int64_t heads) {
  if (reading != Reading::cross) return {{.backwards = reading == Reading::backwards}};
  std::vector<ScanOrder> orders;
  for (std::int64_t i = 0; i < std::min(kCrossOrders, heads); ++i) {
    orders.push_back(
        {.by_columns = i >= 2, .backwards = i % 2 == 1, .first_head = i, .head_step = kCrossOrders});
  }
  return orders;
}

View in_order(const View& x, std::int64_t heads, const ScanOrder& order) {
  if (!x) return x;
  const View read = heads_of(x, heads, order);
  return order.backwards ? read.reversed(1) : read;
}

View in_lines(const View& x, std::int64_t lines, std::int64_t heads, const ScanOrder& order) {
  return heads_of(x, heads, order).split(1, lines);
}

}  // namespace vretnet::layers
